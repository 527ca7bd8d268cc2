package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
)

// The levels of a finding.
const (
	levelOK   = "ok"
	levelWarn = "warn" // works, and may not be meant
	levelFail = "fail" // run doesn't work, or part of it
)

// What is worth a warning.
const (
	skewWarned   = 30 * time.Second
	expiryWarned = 14 * 24 * time.Hour
)

// finding is one line of doctor.
type finding struct {
	Level   string `json:"level"`
	Subject string `json:"subject"`
	Found   string `json:"found"`
	Fix     string `json:"fix,omitempty"`
}

// findings collects them in the order they are shown in.
type findings []finding

func (f *findings) ok(subject, found string) { *f = append(*f, finding{levelOK, subject, found, ""}) }
func (f *findings) warn(subject, found, fix string) {
	*f = append(*f, finding{levelWarn, subject, found, fix})
}
func (f *findings) fail(subject, found, fix string) {
	*f = append(*f, finding{levelFail, subject, found, fix})
}

// failed notes an error, each part of a joined one by itself.
func (f *findings) failed(subject string, err error, fix string) {
	for _, problem := range problems(err) {
		hint := hintOf(problem)
		if hint == "" {
			hint = fix
		}
		for line := range strings.Lines(problem.Error()) {
			f.fail(subject, oneLine(line), hint)
		}
	}
}

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor [FLAG...]",
		Short: "Check everything that run needs, and say how to fix it",
		Long: `Checks configuration, key, connection, clock, TLS, vault, bindings and this machine. Each line
says ok, warn or fail and what was found, and below a warn or fail what to do about it.

It asks the vault for the values, as run does, to see that they arrive and would be
taken; it prints none of them. The exit code is 0, or 1 where any line says fail.`,
		Example: `  miosa-env doctor
  miosa-env doctor --json | jq '.[] | select(.level != "ok")'`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var found findings
			if err := p.begin(c); err != nil {
				found.failed("configuration", err, "")
			}
			local := p.localAgent(c.Context())
			found.vault(c.Context(), p, local)
			found.agent(p, local)
			found.machine()
			if found.level(levelFail) {
				p.code = 1
			}
			if asJSON {
				return printJSON(p.stdout, found)
			}
			return found.print(p.stdout)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

func (f findings) level(level string) bool {
	for _, one := range f {
		if one.Level == level {
			return true
		}
	}
	return false
}

func (f findings) print(w io.Writer) error {
	var out strings.Builder
	for _, one := range f {
		fmt.Fprintf(&out, "%-4s  %s: %s\n", one.Level, one.Subject, api.RedactKeys(one.Found))
		if one.Fix != "" {
			fmt.Fprintf(&out, "        fix: %s\n", api.RedactKeys(one.Fix))
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

// localAgent is what the agent on this machine says of itself.
type localAgent struct {
	agent.Status
	err error
}

func (p *program) localAgent(ctx context.Context) (l localAgent) {
	l.Status, l.err = p.status(ctx)
	return l
}

// serves tells whether it gives the values that are meant.
func (l localAgent) serves(s *settings) bool {
	if l.err != nil || s.noAgent || l.State != agent.Fresh && l.State != agent.Stale {
		return false
	}
	if s.sandbox == "" && s.computer == "" {
		return true
	}
	r, err := s.resource()
	return err == nil && r == l.Resource
}

// vault checks everything between us and the values.
func (f *findings) vault(ctx context.Context, p *program, local localAgent) {
	if local.serves(&p.settings) && !p.settings.hasKey() {
		f.warn("key", "none: values come from the agent on this machine, and from nowhere while it is gone",
			"nothing, where that is meant; else set MIOSA_API_KEY or MIOSA_API_KEY_FILE, or give --key-file FILE")
		f.fromAgent(ctx, p)
		return
	}
	resource, resourceErr := p.settings.resource()
	if resourceErr != nil {
		f.failed("configuration", resourceErr, "")
	}
	key, err := p.settings.key()
	if err != nil {
		f.failed("key", err, "")
		f.unchecked(p, "there is no key to ask the vault with", "key")
		return
	}
	f.key(key)
	if err := inject.Scrub(key.Key); err != nil {
		f.warn("key", "it stays visible in this process's environment or arguments: "+err.Error(), "mount /proc without restrictions")
	}
	client, err := fetch.New(p.settings.config(p, key))
	if err != nil {
		f.failed("configuration", err, "")
	} else {
		defer client.Close()
	}
	if err != nil || resourceErr != nil {
		f.unchecked(p, "the configuration doesn't say whom to ask for what", "configuration")
		return
	}
	f.ok("configuration", resource.Type+" "+resource.ID+", vault "+cmp.Or(p.settings.baseURL, fetch.DefaultBaseURL))
	source := client.Source(resource)
	s, err := source.Next(ctx, "")
	defer s.Wipe()
	f.clock(client, err)
	f.tls(client, !strings.HasPrefix(strings.ToLower(p.settings.baseURL), "http:"), err)
	switch {
	case err != nil && !aboutTLS(err):
		f.failed("vault", err, "")
	case err != nil:
		f.notChecked("vault", "there is no connection", "tls")
	case source.Placeholders():
		f.warn("vault", "it answers, and has no agent API: placeholders are injected, changes are polled for",
			"nothing, where a proxy at the network's edge replaces placeholders; else use a vault with the agent API")
	default:
		f.ok("vault", "it answers, and its values open")
	}
	if err == nil {
		f.bindings(p, s)
		return
	}
	f.ownLimits(p)
	f.notChecked("bindings", "the vault gave none", failing(err))
}

// fromAgent checks what an agent gives, which asks the vault by itself.
func (f *findings) fromAgent(ctx context.Context, p *program) {
	for _, subject := range []string{"clock", "tls", "vault"} {
		f.ok(subject, "not checked: it is for the agent to ask the vault")
	}
	s, err := p.values(ctx)
	if err != nil {
		f.failed("bindings", err, "")
		f.ownLimits(p)
		return
	}
	defer s.Wipe()
	f.bindings(p, s)
}

// unchecked says so of all that takes a vault's answer, and of what that hangs on.
func (f *findings) unchecked(p *program, why, first string) {
	for _, subject := range []string{"clock", "tls", "vault"} {
		f.notChecked(subject, why, first)
	}
	f.ownLimits(p)
	f.notChecked("bindings", why, first)
}

// notChecked says that a subject waits for another, which failed.
func (f *findings) notChecked(subject, why, first string) {
	f.warn(subject, "not checked: "+why, "mend what is said of "+first+", then run miosa-env doctor again")
}

// failing is the subject under which an error of a call is told.
func failing(err error) string {
	if aboutTLS(err) {
		return "tls"
	}
	return "vault"
}

// agent tells about the one on this machine. None is needed.
func (f *findings) agent(p *program, s localAgent) {
	what := s.Type + " " + s.ID + ", " + string(s.State)
	if s.State == agent.Fresh || s.State == agent.Stale {
		what += ", confirmed " + ago(time.Duration(s.Age*float64(time.Second)), s.ConfirmedAt)
	}
	switch {
	case errors.Is(s.err, agent.ErrNoAgent):
		f.ok("agent", "none is running here: run asks the vault")
	case errors.Is(s.err, api.ErrDenied) && p.settings.hasKey():
		f.ok("agent", "this user may not ask it: run asks the vault")
	case errors.Is(s.err, api.ErrDenied):
		f.warn("agent", "this user may not ask it", haveAllowed)
	case s.err != nil:
		f.failed("agent", s.err, "give --no-agent to go past it")
	case s.State == agent.Fresh:
		f.ok("agent", what)
	default:
		f.warn("agent", what+": "+cmp.Or(s.LastError, "the vault hasn't answered yet"), cmp.Or(s.LastHint, "see miosa-env status, and docs/operations.md, \"What to do when\""))
	}
}

func (f *findings) key(key foundKey) {
	switch {
	case key.exposed:
		f.warn("key", "from "+key.where+", which everybody may read or change", "chmod 600 "+key.where)
	case key.ForTenant():
		f.warn("key", "from "+key.where+", a tenant key: it manages secrets and reads no value",
			"mint a resource key for this sandbox or computer, and keep the tenant key off it")
	default:
		f.ok("key", "from "+key.where)
	}
}

// clock compares this machine's with the vault's, if the vault said what it is.
func (f *findings) clock(client *fetch.Client, err error) {
	skew, known := client.ClockSkew()
	switch {
	case !known && err != nil:
		f.notChecked("clock", "the vault didn't answer", failing(err))
	case !known:
		f.warn("clock", "not checked: the vault's answer has no date", "let the vault, or the proxy in front of it, send a Date header")
	case skew.Abs() >= skewWarned:
		direction := "ahead of"
		if skew < 0 {
			direction = "behind"
		}
		f.warn("clock", fmt.Sprintf("%s %s the vault's", skew.Abs(), direction), "set this machine's clock: certificates are judged by it")
	default:
		f.ok("clock", "within "+(skew.Abs()+time.Second).String()+" of the vault's")
	}
}

// tls checks the connection that was made, or why none was.
func (f *findings) tls(client *fetch.Client, secure bool, err error) {
	if aboutTLS(err) {
		f.failed("tls", err, "")
		return
	}
	state := client.TLS()
	switch {
	case !secure:
		f.ok("tls", "none: plain http to this machine itself")
	case state == nil || len(state.PeerCertificates) == 0:
		f.notChecked("tls", "the vault didn't answer", failing(err))
	default:
		leaf := state.PeerCertificates[0]
		found := tls.VersionName(state.Version) + ", certificate by " + issuer(leaf) + " until " + leaf.NotAfter.UTC().Format(time.DateOnly)
		if time.Until(leaf.NotAfter) < expiryWarned {
			f.warn("tls", found, "renew the vault's certificate")
		} else {
			f.ok("tls", found)
		}
	}
}

// aboutTLS tells whether a call ended in the handshake, or for want of one.
func aboutTLS(err error) bool {
	p, ok := errors.AsType[*fetch.Problem](err)
	if !ok {
		return false
	}
	switch p.Reason {
	case fetch.NotTLS, fetch.NeedsTLS, fetch.UnknownCA, fetch.WrongName, fetch.Clock, fetch.TLSFailed:
		return true
	}
	return false
}

func issuer(c *x509.Certificate) string {
	for _, name := range append([]string{c.Issuer.CommonName}, c.Issuer.Organization...) {
		if name != "" {
			return oneLine(name)
		}
	}
	return "an authority without a name"
}

// ownLimits checks our own environment, where the values aren't there to go with it.
func (f *findings) ownLimits(p *program) {
	built, err := inject.Environment{Inherited: p.environ}.Build()
	if err != nil {
		f.failed("limits", err, "")
		return
	}
	f.limits(built, ", without any values")
}

// limits tells whether the kernel would take an environment.
func (f *findings) limits(built inject.Built, without string) {
	if err := inject.Preflight("/bin/sh", []string{"sh"}, built.Environ, built.Bound); err != nil {
		f.failed("limits", err, "")
		return
	}
	size := 0
	for _, entry := range built.Environ {
		size += len(entry) + 1
	}
	f.ok("limits", fmt.Sprintf("an environment of %d variables and %d bytes fits%s", len(built.Environ), size, without))
}

// bindings tells what run would say to them.
func (f *findings) bindings(p *program, s api.Snapshot) {
	built, err := inject.Environment{Inherited: p.environ, Bound: s.Bound}.Build()
	if err != nil {
		f.failed("bindings", err, "")
		f.ownLimits(p)
		return
	}
	f.limits(built, "")
	for _, w := range built.Warnings {
		if w.Kind == inject.WarnPlatform {
			f.warn("bindings", w.String(), "nothing, where a proxy at the network's edge replaces what it holds; else use a vault with the agent API")
			continue
		}
		f.warn("bindings", w.String(), "bind it under another name, unless it is meant")
	}
	switch len(s.Bound) {
	case 0:
		f.warn("bindings", "none", "bind a secret to "+s.Resource.String()+", or check the id")
	case 1:
		f.ok("bindings", "1")
	default:
		f.ok("bindings", fmt.Sprint(len(s.Bound)))
	}
}
