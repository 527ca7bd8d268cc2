// Package machine has the commands that use the values of a sandbox or computer, from the agent or the vault: run, export, get and
// list; and those that ask the agent: status and refresh.
package machine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// agentPatience is how long the agent has for the first set if there is a key to ask the vault with: a moment longer
// than it holds a request while it is starting.
const agentPatience = 1500 * time.Millisecond

var errHangs = errors.New("the agent doesn't answer in time")

// supply chooses where a command's values come from: the agent on this machine if it serves the resource that is meant,
// else the vault. An agent.Engine does the rest.
type supply struct {
	*program.Program
	resource api.Resource
	named    string         // the vault that is named; empty: none, so the agent's is meant
	client   *socket.Client // of the agent; nil: there is none to ask
	local    *localSource   // the same
	engine   *agent.Engine  // made by first

	mu       sync.Mutex    // guards the fields below
	vault    connection    // its Client is nil until the vault is asked
	remote   *fetch.Source // the same
	cache    *cache.Cache  // nil: there is none
	bypassed bool          // the vault was asked because the agent gave nothing, and that has been logged
	other    error         // why the agent isn't asked any more: it serves another vault
	only     bool          // the vault isn't asked, whatever the agent says
}

// Values returns the current set of the resource.
func Values(ctx context.Context, p *program.Program) (api.Snapshot, error) {
	s, err := newSupply(ctx, p)
	if err != nil {
		return api.Snapshot{}, err
	}
	defer s.Close()
	return s.first(ctx)
}

// newSupply chooses between the agent and the vault. It asks neither for values.
func newSupply(ctx context.Context, p *program.Program) (*supply, error) {
	s := &supply{Program: p}
	if !p.Settings.NoAgent {
		var err error
		if s.named, err = p.Settings.NamedVault(); err != nil {
			return s, err
		}
		if err := s.dial(ctx); err != nil {
			switch {
			case errors.Is(err, socket.ErrNotSocket):
				return s, err
			case ctx.Err() != nil || !p.Settings.HasKey():
				return s, Keyless(err)
			}
			s.pass(err)
		}
	}
	if s.local != nil {
		return s, nil
	}
	return s, s.connectVault()
}

// dial connects to the agent, if there is one. It needs no key.
// Errors: why the agent can't be asked; a missing agent isn't an error.
func (s *supply) dial(ctx context.Context) error {
	client, err := dialAgent(s.Program)
	switch {
	case errors.Is(err, socket.ErrNoAgent):
		return nil
	case err != nil:
		return err
	}
	if s.Settings.Sandbox == "" && s.Settings.Computer == "" {
		err = s.hurried(ctx, func(ctx context.Context) error {
			status, err := client.Status(ctx) // there is one resource it can be about
			s.resource = status.Resource
			if err == nil {
				err = OtherVault(status, s.named)
			}
			return err
		})
		if err != nil {
			client.Close()
			return err
		}
	} else if s.resource, err = s.Settings.Resource(); err != nil {
		client.Close()
		return nil //nolint:nilerr // the same error comes of asking the vault
	}
	key, _ := api.ParseKey(s.Settings.APIKey)
	if err := environ.Scrub(key); err != nil {
		s.Log.Warn().Err(err).Msg("key remains visible in this process's environment or arguments")
	}
	s.client, s.local = client, &localSource{client.Source(s.resource, s.named), s}
	return nil
}

// OtherVault is the error where an agent isn't known to serve the vault that is named.
func OtherVault(s agent.Status, named string) error {
	if named == "" || s.Vault == named {
		return nil
	}
	return &socket.OtherVault{Socket: s.Socket, Serves: s.Vault, Named: named}
}

// hurried asks the agent for something to start with, within agentPatience if the vault can be asked instead.
func (s *supply) hurried(ctx context.Context, ask func(context.Context) error) error {
	if !s.Settings.HasKey() {
		return ask(ctx)
	}
	soon, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	err := ask(soon)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		err = errHangs
	}
	return err
}

// localSource is the agent's sets for a command.
type localSource struct {
	*socket.Source
	supply *supply
}

// Next returns the agent's set, the first one within agentPatience.
func (l *localSource) Next(ctx context.Context, etag string) (set api.Snapshot, err error) {
	s := l.supply
	s.mu.Lock()
	other := s.other
	s.mu.Unlock()
	switch {
	case other != nil:
		return set, other
	case etag != "":
		set, err = l.Source.Next(ctx, etag)
	default:
		err = s.hurried(ctx, func(ctx context.Context) (err error) {
			set, err = l.Source.Next(ctx, "")
			return err
		})
	}
	if err == nil || errors.Is(err, api.ErrNotModified) {
		s.mu.Lock()
		s.bypassed = false
		s.mu.Unlock()
	}
	return set, err
}

// Ask is Next with etag "".
func (l *localSource) Ask(ctx context.Context) (api.Snapshot, error) { return l.Next(ctx, "") }

// pass logs that the vault is asked because the agent gives nothing, once until it gives something. An agent that
// serves another vault than the one that is named isn't asked again. The caller holds mu.
func (s *supply) pass(err error) {
	if _, other := errors.AsType[*socket.OtherVault](err); other {
		s.other = err
	}
	if s.bypassed {
		return
	}
	s.bypassed = true
	event := s.Log.Debug()
	switch {
	case errors.Is(err, socket.ErrNoAgent), errors.Is(err, socket.ErrOtherResource), errors.Is(err, api.ErrDenied):
	default:
		event = s.Log.Warn()
	}
	event.Err(err).Msg("agent not used: requesting from the vault")
}

// connectVault makes a client of the vault, and begins to connect. The caller holds mu.
func (s *supply) connectVault() error {
	if s.remote != nil {
		return nil
	}
	vault, err := connect(s.Program)
	if err != nil {
		return err
	}
	if s.local == nil {
		s.resource = vault.resource
	}
	s.vault, s.remote = vault, vault.Source(vault.resource)
	if !s.Settings.Cache {
		return nil
	}
	s.cache, err = s.Settings.NewCache(s.Environ, vault.key, vault.resource, vault.Key)
	return err
}

// instead returns the vault after the agent has failed with why, if there is a key.
func (s *supply) instead(why error) (agent.Source, *cache.Cache, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.only:
		return nil, nil, why
	case !s.Settings.HasKey():
		return nil, nil, Keyless(why)
	}
	s.pass(why)
	if err := s.connectVault(); err != nil {
		return nil, nil, err
	}
	return s.remote, s.cache, nil
}

// first returns the set to start with, and makes the engine that can go on from there.
func (s *supply) first(ctx context.Context) (api.Snapshot, error) {
	conf := agent.Config{Resource: s.resource, Heap: true, OnRevoke: func(error) {}, Log: s.Log}
	if s.local != nil {
		conf.Source, conf.Fallback = s.local, s.instead
	} else {
		conf.Source, conf.Cache = s.remote, s.cache
	}
	var err error
	if s.engine, err = agent.New(conf); err != nil {
		return api.Snapshot{}, err
	}
	set, err := s.engine.First(ctx)
	if err != nil {
		return set, err
	}
	if s.remote == nil {
		if age, stale := s.local.Age(); stale {
			s.Log.Warn().Stringer("age", age.Round(time.Second)).Msg("vault unavailable: using the agent's last set")
		}
	} else if status := s.engine.Status(); status.Origin == agent.FromCache {
		event := s.Log.Warn()
		if status.LastError != "" {
			event = event.Str("error", status.LastError)
		}
		event.Stringer("age", time.Duration(status.Age*float64(time.Second)).Round(time.Second)).Msg("vault unavailable: starting from the cache")
	}
	return set, nil
}

// recovers reports whether what was refused may be given later: by an agent that gets another key, or with another key
// in the key's file.
func (s *supply) recovers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asksAgent() || s.remote != nil && !s.vault.key.Changed.IsZero()
}

// asksAgent reports whether there is an agent to ask. The caller holds mu.
func (s *supply) asksAgent() bool { return s.client != nil && s.other == nil }

// Close closes the connections that nothing uses.
func (s *supply) Close() {
	if s.client != nil {
		s.client.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vault.Client != nil {
		s.vault.Close()
	}
}

// Keyless adds to the error of an agent that gives nothing what to do about it if there is no key.
func Keyless(err error) error {
	hint := "miosa-env status says why; with a key in MIOSA_API_KEY the vault is asked instead"
	other, isOther := errors.AsType[*socket.OtherVault](err)
	switch {
	case isOther && other.Serves == "":
		hint = "restart the agent, which is of an older version; or set MIOSA_API_KEY to ask the vault"
	case isOther:
		hint = "leave out --base-url and MIOSA_BASE_URL to have the agent's values, or set MIOSA_API_KEY to a key of the vault that is named"
	case errors.Is(err, socket.ErrOtherResource):
		hint = "miosa-env status says which; with a key in MIOSA_API_KEY the vault is asked instead"
	case errors.Is(err, socket.ErrUntrusted):
		hint = onlyTrusted + "; with a key in MIOSA_API_KEY the vault is asked instead"
	case errors.Is(err, api.ErrDenied):
		hint = haveAllowed + ", or set MIOSA_API_KEY"
	}
	return cli.WithHint(err, hint)
}

// connection is a client of the vault for one resource.
type connection struct {
	*fetch.Client
	resource api.Resource
	key      program.FoundKey
}

// connect reads the key, starts to connect to the vault, and meanwhile removes the key from the arguments and environment of this
// process.
func connect(p *program.Program) (connection, error) {
	inherited.EndByFaults()
	found, keyErr := p.Settings.Key()
	if found.Exposed {
		p.Log.Warn().Str("file", found.Where).Msg("key file is accessible to other users: chmod 600 it")
	}
	resource, err := p.Settings.Resource()
	if err := errors.Join(keyErr, err); err != nil {
		return connection{}, err
	}
	client, err := fetch.New(p.Settings.ClientConfig(p, found))
	if err == nil {
		client.Connect()
	}
	if err := environ.Scrub(found.Key); err != nil {
		p.Log.Warn().Err(err).Msg("key remains visible in this process's environment or arguments")
	}
	return connection{client, resource, found}, err
}
