package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
)

// localAgent is what the agent on this machine says of itself.
type localAgent struct {
	agent.Status
	err error
}

func newLocalAgent(ctx context.Context, p *program.Program) (l localAgent) {
	l.Status, l.err = machine.AskStatus(ctx, p)
	return l
}

// meant reports whether it is the agent of the resource and the vault that are named, if any are.
func (l localAgent) meant(s *program.Settings) bool {
	vault, err := s.NamedVault()
	if err != nil || l.err != nil || s.NoAgent || machine.OtherVault(l.Status, vault) != nil {
		return false
	}
	if s.Sandbox == "" && s.Computer == "" {
		return true
	}
	r, err := s.Resource()
	return err == nil && r == l.Resource
}

// serves reports whether run gets its values from it.
func (l localAgent) serves(s *program.Settings) bool {
	return l.meant(s) && (l.State == agent.Fresh || l.State == agent.Stale)
}

// says is its state and what is wrong with it.
func (l localAgent) says() string {
	text := "the agent is " + string(l.State)
	if l.LastError != "" {
		return text + ": " + l.LastError
	}
	return text + ": the vault hasn't answered yet"
}

// advice is what to do about it.
func (l localAgent) advice() string {
	return cmp.Or(l.LastHint, "see miosa-env status, and docs/operations.md, \"States\"")
}

// fromAgent checks what the agent gives. It asks the vault by itself: our key and our way to the vault matter only
// once it is gone.
func (d *doctor) fromAgent(ctx context.Context) {
	d.source = "the agent at " + d.local.Socket
	where := d.local.Resource.Type + " " + d.local.Resource.ID + ", from " + d.source
	if d.local.Vault != "" {
		where += ", which serves the vault " + d.local.Vault
	}
	d.ok("configuration", where)
	set, err := machine.Values(ctx, d.Program)
	defer set.Wipe()
	if err != nil {
		d.failed("bindings", err, "")
		d.ownLimits()
	} else {
		d.bindings(set)
	}
	if !d.Settings.HasKey() {
		d.ok("key", "none here, and none is needed while the agent serves the values")
		return
	}
	d.spareKey(ctx)
}

// spareKey checks the key that run would ask the vault with if the agent were gone.
func (d *doctor) spareKey(ctx context.Context) {
	const spare = "the agent is used, and without it run would fail: "
	key, err := d.Settings.Key()
	if err != nil {
		d.trouble(levelWarn, "key", spare, err, "")
		return
	}
	d.exposed(key)
	v := d.visit(ctx, key, d.local.Resource)
	defer v.close()
	subject, about := v.blame()
	switch {
	case v.err == nil:
		d.ok("key", "from "+key.Where+"; not needed while the agent serves the values")
	case key.ForTenant():
		d.warn("key", spare+tenantKey(key), resourceKeyFix)
	case subject == "key":
		d.trouble(levelWarn, subject, spare+"the vault refuses the key from "+key.Where+": ", about, "")
	case d.local.State != agent.Stale: // of which it is the cause
		d.trouble(levelWarn, subject, spare, about, "")
	}
}

// noAgentValues notes why an agent that is meant has nothing to give, if that is why run fails for want of a key.
func (d *doctor) noAgentValues() bool {
	l := d.local
	_, err := d.Settings.Resource()
	named := d.Settings.Sandbox != "" || d.Settings.Computer != ""
	switch {
	case d.Settings.NoAgent, errors.Is(l.err, socket.ErrNoAgent), named && err != nil:
		return false
	case l.err != nil:
		d.failed("agent", machine.Unasked(l.err), "set MIOSA_API_KEY or MIOSA_API_KEY_FILE, to ask the vault without the agent")
	case l.meant(&d.Settings):
		d.fail("agent", l.says()+"; and there is no key to ask the vault with", l.advice())
	case d.otherVault() != nil:
		d.failed("agent", machine.Keyless(d.otherVault()), "")
	default:
		d.fail("agent", fmt.Sprintf("%s: %s; and there is no key to ask the vault with", socket.ErrOtherResource, l.Resource),
			"leave out --sandbox and --computer, MIOSA_SANDBOX_ID and MIOSA_COMPUTER_ID, to have the agent's values, or set MIOSA_API_KEY to a key of the one that is meant")
	}
	return true
}

// otherVault is the error where the agent serves another vault than the one that is named.
func (d *doctor) otherVault() error {
	if vault, err := d.Settings.NamedVault(); err == nil && d.local.err == nil {
		return machine.OtherVault(d.local.Status, vault)
	}
	return nil
}

// agent tells about the one on this machine, unless that has been done. None is needed.
func (d *doctor) agent() {
	l := d.local
	for _, one := range d.findings {
		if one.Subject == "agent" {
			return
		}
	}
	other, what := d.otherVault(), l.Type+" "+l.ID+", "+string(l.State)
	confirmed := "confirmed " + program.Ago(time.Duration(l.Age*float64(time.Second)), l.ConfirmedAt)
	if l.State == agent.Fresh || l.State == agent.Stale {
		what += ", " + confirmed
	}
	switch {
	case errors.Is(l.err, socket.ErrNoAgent):
		d.ok("agent", "none is running here: run asks the vault")
	case d.Settings.NoAgent:
		d.ok("agent", "not asked, as --no-agent or MIOSA_NO_AGENT says")
	case errors.Is(l.err, api.ErrDenied):
		d.ok("agent", "this user may not ask it: run asks the vault")
	case errors.Is(l.err, socket.ErrNotSocket):
		d.failed("agent", l.err, "")
	case l.err != nil:
		d.trouble(levelWarn, "agent", "", l.err, "give --no-agent to go past it")
	case other != nil:
		d.warn("agent", other.Error()+": run asks that one", "give --no-agent, or leave out --base-url and MIOSA_BASE_URL to have the agent's values")
	case d.count(levelFail) > 0 && !l.meant(&d.Settings):
		d.ok("agent", what)
	case !l.meant(&d.Settings):
		d.ok("agent", what+": of another resource, so that run asks the vault")
	case l.State == agent.Fresh:
		d.ok("agent", what)
	case l.State == agent.Stale && d.asked && d.cause == nil:
		d.warn("agent", "the agent's values were "+confirmed+", and it hasn't noticed yet that vault available again", "miosa-env refresh")
	case l.State == agent.Stale && d.asked && d.about != "key":
		d.trouble(levelWarn, "agent", "the agent's values were "+confirmed+", and can't be now: ", d.cause, "")
	case l.State == agent.Stale:
		d.warn("agent", "the agent's values were "+confirmed+", and can't be now: "+cmp.Or(l.LastError, "the vault doesn't answer"), l.advice())
	case d.cause != nil && d.cause.Error() == l.LastError:
		d.warn("agent", "the agent is "+string(l.State)+" for the same reason", "")
	default:
		d.warn("agent", l.says()+": run asks the vault", l.advice())
	}
}
