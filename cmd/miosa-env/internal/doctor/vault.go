package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// fromVault checks the way to the vault's values.
func (d *doctor) fromVault(ctx context.Context) {
	configured := d.count(levelFail) == 0
	v := d.visitFirst(ctx)
	if v == nil {
		d.environment()
		d.skip("nothing can be asked of the vault", "clock", "tls", "vault", "bindings")
		return
	}
	defer v.close()
	if d.Settings.Cache {
		if cache, err := d.Settings.NewCache(d.Environ, v.key, v.resource, nil); err != nil {
			d.failed("cache", err, "")
		} else {
			d.ok("cache", cache.Path())
		}
	}
	d.source = "the vault " + cmp.Or(d.Settings.BaseURL, fetch.DefaultBaseURL)
	if configured {
		d.ok("configuration", v.resource.Type+" "+v.resource.ID+", from "+d.source)
	}
	d.exposed(v.key)
	switch {
	case v.err != nil && v.key.ForTenant():
		d.fail("key", tenantKey(v.key), resourceKeyFix)
	case v.subject == "key":
		d.trouble(levelFail, "key", "the vault refuses the key from "+v.key.Where+": ", v.err, "")
	case !v.key.Exposed:
		d.ok("key", "from "+v.key.Where)
	}
	if v.err != nil && v.subject != "key" {
		d.failed(v.subject, v.err, "")
	}
	d.connection(v)
	if v.err == nil {
		d.bindings(v.set)
	} else {
		d.environment()
	}
}

// visitFirst visits the vault that run would ask. It returns nil if there is nothing to ask or to ask with.
func (d *doctor) visitFirst(ctx context.Context) *visit {
	if _, err := d.Settings.NamedVault(); err != nil {
		d.failed("configuration", err, "")
		return nil
	}
	if !d.Settings.HasKey() && d.noAgentValues() {
		return nil
	}
	resource, err := d.Settings.Resource()
	if err != nil {
		d.failed("configuration", err, "")
	}
	key, keyErr := d.Settings.Key()
	if keyErr != nil {
		d.failed("key", keyErr, "")
	}
	if err != nil || keyErr != nil {
		return nil
	}
	v := d.visit(ctx, key, resource)
	if v.client == nil {
		d.failed("configuration", v.err, "")
		return nil
	}
	return v
}

// visit is a reveal request with a key.
type visit struct {
	key      program.FoundKey
	resource api.Resource
	client   *fetch.Client // nil: the configuration is wrong
	source   *fetch.Source
	set      api.Snapshot
	err      error
	subject  string // of err
}

// visit requests the values, as run does.
func (d *doctor) visit(ctx context.Context, key program.FoundKey, r api.Resource) *visit {
	inherited.EndByFaults()
	if err := environ.Scrub(key.Key); err != nil {
		d.warn("memory", "key remains visible in this process's environment or arguments: "+err.Error(), "mount /proc without restrictions")
	}
	v := &visit{key: key, resource: r, subject: "configuration"}
	client, err := fetch.New(d.Settings.ClientConfig(d.Program, key))
	if err != nil {
		v.err = err
		return v
	}
	v.client, v.source = client, client.Source(r)
	v.set, v.err = v.source.Next(ctx, "")
	v.subject = subjectOf(v.err)
	d.visited = v
	return v
}

func (v *visit) close() {
	if v.client != nil {
		v.client.Close()
	}
	v.set.Wipe()
}

// subjectOf returns what the error of a request is about: "" for nil.
func subjectOf(err error) string {
	if err == nil {
		return ""
	}
	if p, ok := errors.AsType[*fetch.Problem](err); ok {
		switch p.Reason {
		case fetch.Unauthorized, fetch.Denied:
			return "key"
		case fetch.NotTLS, fetch.NeedsTLS, fetch.UnknownCA, fetch.WrongName, fetch.Clock, fetch.TLSFailed:
			return "tls"
		}
	}
	return "vault"
}

const resourceKeyFix = "create a resource key for this sandbox or computer, and keep the tenant key off it"

func tenantKey(key program.FoundKey) string {
	return "the key from " + key.Where + " is a tenant key, which manages secrets and can't reveal"
}

func (d *doctor) exposed(key program.FoundKey) {
	if key.Exposed {
		d.warn("key", "the key file "+key.Where+" may be read or changed by everybody", "chmod 600 "+key.Where)
	}
}

// connection checks clock, TLS and vault, as far as a visit came.
func (d *doctor) connection(v *visit) {
	var skipped []string
	skew, known := v.client.ClockSkew()
	switch {
	case known && skew.Abs() < skewWarned:
		d.ok("clock", "within "+(skew.Abs()+time.Second).String()+" of the vault's")
	case known:
		direction := "ahead of"
		if skew < 0 {
			direction = "behind"
		}
		d.warn("clock", fmt.Sprintf("this machine's clock is %s %s the vault's", skew.Abs(), direction), "set this machine's clock: certificates are judged by it")
	case v.err != nil:
		skipped = append(skipped, "clock")
	default:
		d.warn("clock", "the vault's answer has no date to compare this machine's clock with", "let the vault, or the proxy in front of it, send a Date header")
	}
	state := v.client.TLS()
	switch {
	case v.subject == "tls":
	case strings.HasPrefix(strings.ToLower(d.Settings.BaseURL), "http:"):
		unused := ""
		if d.Settings.CAFile != "" {
			unused = "; the CA file " + d.Settings.CAFile + " isn't used"
		}
		d.ok("tls", "none: plain http to this machine itself"+unused)
	case state != nil && len(state.PeerCertificates) > 0:
		d.certificate(state)
	default:
		skipped = append(skipped, "tls")
	}
	switch {
	case v.subject == "key":
		d.ok("vault", "it answers")
	case v.err != nil && v.subject != "vault":
		skipped = append(skipped, "vault")
	case v.err != nil:
	case v.source.OutOfScope():
		d.ok("vault", "it answers")
		d.warn("key", "the key is the machine's own: it may list bindings but not reveal their values (MACHINE_KEY_SCOPE), and changes are polled for",
			"nothing, where a proxy at the network's edge puts the values in; else use a key that may reveal them")
	case v.source.Placeholders():
		d.warn("vault", "vault has no agent API: listing bindings without values, polling for changes",
			"nothing, where a proxy at the network's edge puts the values in; else use a vault with the agent API")
	default:
		d.ok("vault", "it answers, and its values open")
	}
	if v.err != nil {
		why := "the vault gave no values"
		if v.subject == "key" {
			why = "the vault refuses the key"
		}
		d.skip(why, append(skipped, "bindings")...)
	}
}

// certificate checks the certificate of a connection.
func (d *doctor) certificate(state *tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	issuer := cmp.Or(append([]string{leaf.Issuer.CommonName}, leaf.Issuer.Organization...)...)
	found := tls.VersionName(state.Version) + ", certificate by " + cmp.Or(cli.OneLine(issuer), "an authority without a name") +
		" until " + leaf.NotAfter.UTC().Format(time.DateOnly)
	if time.Until(leaf.NotAfter) < expiryWarned {
		d.warn("tls", "the vault's certificate ends soon: "+found, "renew the vault's certificate")
		return
	}
	d.ok("tls", found)
}
