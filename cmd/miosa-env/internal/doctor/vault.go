package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// fromVault checks everything between us and the vault's values.
func (d *doctor) fromVault(ctx context.Context) {
	configured := d.count(levelFail) == 0
	if _, vaultErr := d.Settings.NamedVault(); vaultErr != nil {
		d.failed("configuration", vaultErr, "")
		d.unreached()
		return
	}
	if !d.Settings.HasKey() && d.noAgentValues() {
		d.unreached()
		return
	}
	resource, err := d.Settings.Resource()
	if err != nil {
		d.failed("configuration", err, "")
	}
	key, keyErr := d.Settings.Key()
	if keyErr != nil {
		d.failed("key", keyErr, "")
	}
	if keyErr != nil || err != nil {
		d.unreached()
		return
	}
	v := d.visit(ctx, key, resource)
	defer v.close()
	if v.client == nil {
		d.failed("configuration", v.err, "")
		d.unreached()
		return
	}
	if d.Settings.Cache.On {
		d.cache(key, resource)
	}
	d.source = "the vault " + cmp.Or(d.Settings.BaseURL, fetch.DefaultBaseURL)
	if configured {
		d.ok("configuration", resource.Type+" "+resource.ID+", from "+d.source)
	}
	subject, about := v.blame()
	d.key(key, v.err, subject, about)
	if v.err == nil {
		d.connection(v)
		d.bindings(v.set)
		return
	}
	if subject != "key" {
		d.failed(subject, about, "")
	}
	d.connection(v)
	d.ownLimits()
}

// cache checks where run would keep its sealed copy.
func (d *doctor) cache(key program.FoundKey, r api.Resource) {
	cache, err := d.Settings.NewCache(d.Environ, key, r)
	if err != nil {
		d.failed("cache", err, "")
		return
	}
	d.ok("cache", cache.Path())
}

// unreached says what takes an answer of the vault to be checked.
func (d *doctor) unreached() {
	d.ownLimits()
	d.skip("nothing can be asked of the vault", "clock", "tls", "vault", "bindings")
}

// visit is one question to the vault.
type visit struct {
	client *fetch.Client // nil: none could be made
	source *fetch.Source
	secure bool
	set    api.Snapshot
	err    error
}

// visit asks the vault for the values, as run does.
func (d *doctor) visit(ctx context.Context, key program.FoundKey, r api.Resource) (v visit) {
	inherited.EndByFaults()
	if err := inject.Scrub(key.Key); err != nil {
		d.warn("memory", "key remains visible in this process's environment or arguments: "+err.Error(), "mount /proc without restrictions")
	}
	if v.client, v.err = fetch.New(d.Settings.Config(d.Program, key)); v.err != nil {
		v.client = nil
		return v
	}
	v.secure = !strings.HasPrefix(strings.ToLower(d.Settings.BaseURL), "http:")
	v.source = v.client.Source(r)
	v.set, v.err = v.source.Next(ctx, "")
	d.asked, d.cause = true, v.err
	d.about, _ = v.blame()
	return v
}

func (v visit) close() {
	if v.client != nil {
		v.client.Close()
	}
	v.set.Wipe()
}

// blame says what a visit's error is about.
func (v visit) blame() (subject string, err error) {
	p, ok := errors.AsType[*fetch.Problem](v.err)
	switch {
	case v.client == nil:
		return "configuration", v.err
	case !ok:
		return "vault", v.err
	case p.Reason == fetch.Unauthorized, p.Reason == fetch.Denied:
		return "key", v.err
	case aboutTLS(p.Reason):
		return "tls", v.err
	}
	return "vault", v.err
}

// aboutTLS reports whether a call ended in the handshake, or for want of one.
func aboutTLS(r fetch.Reason) bool {
	switch r {
	case fetch.NotTLS, fetch.NeedsTLS, fetch.UnknownCA, fetch.WrongName, fetch.Clock, fetch.TLSFailed:
		return true
	}
	return false
}

const resourceKeyFix = "mint a resource key for this sandbox or computer, and keep the tenant key off it"

func tenantKey(key program.FoundKey) string {
	return "the key from " + key.Where + " is a tenant key, which manages secrets and reads no value"
}

// key tells about the key, with what the vault said of it.
func (d *doctor) key(key program.FoundKey, err error, subject string, about error) {
	d.exposed(key)
	switch {
	case err != nil && key.ForTenant():
		d.fail("key", tenantKey(key), resourceKeyFix)
	case err != nil && subject == "key":
		d.trouble(levelFail, "key", "the vault refuses the key from "+key.Where+": ", about, "")
	case !key.Exposed:
		d.ok("key", "from "+key.Where)
	}
}

func (d *doctor) exposed(key program.FoundKey) {
	if key.Exposed {
		d.warn("key", "the key file "+key.Where+" may be read or changed by everybody", "chmod 600 "+key.Where)
	}
}

// connection tells about clock, TLS and vault, as far as the visit came.
func (d *doctor) connection(v visit) {
	var skipped []string
	skew, known := v.client.ClockSkew()
	switch {
	case known:
		d.clock(skew)
	case v.err != nil:
		skipped = append(skipped, "clock")
	default:
		d.warn("clock", "the vault's answer has no date to compare this machine's clock with", "let the vault, or the proxy in front of it, send a Date header")
	}
	state := v.client.TLS()
	subject, _ := v.blame()
	switch {
	case v.err != nil && subject == "tls":
	case !v.secure:
		d.ok("tls", "none: plain http to this machine itself"+d.unusedCA())
	case state != nil && len(state.PeerCertificates) > 0:
		d.certificate(state)
	default:
		skipped = append(skipped, "tls")
	}
	switch {
	case v.err == nil && v.source.OutOfScope():
		d.ok("vault", "it answers")
		d.warn("key", "the key is the machine's own: it may list bindings but not reveal their values (MACHINE_KEY_SCOPE), and changes are polled for",
			"nothing, where a proxy at the network's edge puts the values in; else use a key that may reveal them")
	case v.err == nil && v.source.Placeholders():
		d.warn("vault", "vault has no agent API: listing bindings without values, polling for changes",
			"nothing, where a proxy at the network's edge puts the values in; else use a vault with the agent API")
	case v.err == nil:
		d.ok("vault", "it answers, and its values open")
	case subject == "key":
		d.ok("vault", "it answers")
	case subject != "vault":
		skipped = append(skipped, "vault")
	}
	if v.err != nil {
		why := "the vault gave no values"
		if subject == "key" {
			why = "the vault refuses the key"
		}
		d.skip(why, append(skipped, "bindings")...)
	}
}

// unusedCA says that the CA file isn't used, where there is one.
func (d *doctor) unusedCA() string {
	if d.Settings.CAFile == "" {
		return ""
	}
	return "; the CA file " + d.Settings.CAFile + " isn't used"
}

// clock compares this machine's with the vault's.
func (d *doctor) clock(skew time.Duration) {
	if skew.Abs() < skewWarned {
		d.ok("clock", "within "+(skew.Abs()+time.Second).String()+" of the vault's")
		return
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	d.warn("clock", fmt.Sprintf("this machine's clock is %s %s the vault's", skew.Abs(), direction), "set this machine's clock: certificates are judged by it")
}

// certificate tells about the connection that was made.
func (d *doctor) certificate(state *tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	found := tls.VersionName(state.Version) + ", certificate by " + issuer(leaf) + " until " + leaf.NotAfter.UTC().Format(time.DateOnly)
	if time.Until(leaf.NotAfter) < expiryWarned {
		d.warn("tls", "the vault's certificate ends soon: "+found, "renew the vault's certificate")
		return
	}
	d.ok("tls", found)
}

func issuer(c *x509.Certificate) string {
	for _, name := range append([]string{c.Issuer.CommonName}, c.Issuer.Organization...) {
		if name != "" {
			return cli.OneLine(name)
		}
	}
	return "an authority without a name"
}
