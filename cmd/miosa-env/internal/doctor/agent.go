package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
)

// localAgent is the agent on this machine.
type localAgent struct {
	agent.Status
	err error // nil: it responded
}

// meant reports whether it serves the resource and the vault that are named, if any are.
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

// hasValues reports whether it has values to serve.
func (l localAgent) hasValues() bool { return l.State == agent.Fresh || l.State == agent.Stale }

// problem returns its state and its last error.
func (l localAgent) problem() string {
	return "the agent is " + string(l.State) + ": " + cmp.Or(l.LastError, "the vault hasn't answered yet")
}

func (l localAgent) fix() string {
	return cmp.Or(l.LastHint, "see miosa-env status, and docs/operations.md, \"States\"")
}

// fromAgent checks the agent's values. The agent asks the vault itself: the key and the connection of this process are
// needed only without the agent.
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
		d.environment()
	} else {
		d.bindings(set)
	}
	if d.Settings.HasKey() {
		d.spareKey(ctx)
	} else {
		d.ok("key", "none here, and none is needed while the agent serves the values")
	}
}

// spareKey checks the key with which run would ask the vault without the agent.
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
	switch {
	case v.err == nil:
		d.ok("key", "from "+key.Where+"; not needed while the agent serves the values")
	case key.ForTenant():
		d.warn("key", spare+tenantKey(key), resourceKeyFix)
	case v.subject == "key":
		d.trouble(levelWarn, v.subject, spare+"the vault refuses the key from "+key.Where+": ", v.err, "")
	case d.local.State != agent.Stale: // if it is stale, this is the cause
		d.trouble(levelWarn, v.subject, spare, v.err, "")
	}
}

// noAgentValues reports whether run fails only because the agent that is meant has no values, and adds why. It is called if
// there is no key.
func (d *doctor) noAgentValues() bool {
	l := d.local
	_, err := d.Settings.Resource()
	named := d.Settings.Sandbox != "" || d.Settings.Computer != ""
	switch {
	case d.Settings.NoAgent, errors.Is(l.err, socket.ErrNoAgent), named && err != nil:
		return false
	case l.err != nil:
		d.failed("agent", machine.AgentError(l.err), "set MIOSA_API_KEY or MIOSA_API_KEY_FILE, to ask the vault without the agent")
	case l.meant(&d.Settings):
		d.fail("agent", l.problem()+"; and there is no key to ask the vault with", l.fix())
	case d.otherVault() != nil:
		d.failed("agent", machine.Keyless(d.otherVault()), "")
	default:
		d.fail("agent", fmt.Sprintf("%s: %s; and there is no key to ask the vault with", socket.ErrOtherResource, l.Resource),
			"leave out --sandbox and --computer, MIOSA_SANDBOX_ID and MIOSA_COMPUTER_ID, to have the agent's values, or set MIOSA_API_KEY to a key of the one that is meant")
	}
	return true
}

// otherVault returns an error if the agent serves another vault than the named one.
func (d *doctor) otherVault() error {
	if vault, err := d.Settings.NamedVault(); err == nil && d.local.err == nil {
		return machine.OtherVault(d.local.Status, vault)
	}
	return nil
}

// agent checks the agent, unless that has been done. None is needed.
func (d *doctor) agent() {
	if slices.ContainsFunc(d.findings, func(f finding) bool { return f.Subject == "agent" }) {
		return
	}
	l, other := d.local, d.otherVault()
	confirmed := "confirmed " + program.Ago(time.Duration(l.Age*float64(time.Second)), l.ConfirmedAt)
	what := l.Type + " " + l.ID + ", " + string(l.State)
	if l.hasValues() {
		what += ", " + confirmed
	}
	confirmed = "the agent's values were " + confirmed
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
	case !l.meant(&d.Settings) && d.count(levelFail) == 0:
		d.ok("agent", what+": of another resource, so that run asks the vault")
	case l.State == agent.Fresh, !l.meant(&d.Settings):
		d.ok("agent", what)
	case l.State == agent.Stale && d.visited != nil && d.visited.err == nil:
		d.warn("agent", confirmed+", and it hasn't noticed yet that the vault is available again", "miosa-env refresh")
	case l.State == agent.Stale && d.visited != nil && d.visited.subject != "key":
		d.trouble(levelWarn, "agent", confirmed+", and can't be now: ", d.visited.err, "")
	case l.State == agent.Stale:
		d.warn("agent", confirmed+", and can't be now: "+cmp.Or(l.LastError, "the vault doesn't answer"), l.fix())
	case d.visited != nil && d.visited.err != nil && d.visited.err.Error() == l.LastError:
		d.warn("agent", "the agent is "+string(l.State)+" for the same reason", "")
	default:
		d.warn("agent", l.problem()+": run asks the vault", l.fix())
	}
}
