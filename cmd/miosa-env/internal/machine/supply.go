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
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// agentPatience is the time that the agent has to return the first set if there is a key for the vault: slightly longer than
// it holds a request while it starts.
const agentPatience = 1500 * time.Millisecond

var errHangs = errors.New("the agent doesn't answer in time")

// supply chooses the source of a command's values: the agent on this machine if it serves the resource, otherwise the vault.
// An agent.Engine does the rest.
type supply struct {
	*program.Program
	resource api.Resource
	named    string         // the named vault; empty: any
	client   *socket.Client // of the agent; nil: there is none
	local    *localSource   // the same
	engine   *agent.Engine  // set by first

	mu       sync.Mutex    // guards the fields below
	vault    *fetch.Client // nil until the vault is needed
	remote   *fetch.Source // the same
	key      program.FoundKey
	cache    *cache.Cache // nil: none
	bypassed bool         // since the agent's last set, the vault was asked instead and that was logged
	other    error        // the agent isn't asked again: it serves another vault
	only     bool         // only the agent is asked
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

// newSupply chooses between the agent and the vault. It requests no values.
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

// dial connects to the agent, if there is one. It needs no key. A missing agent is not an error.
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
			status, err := client.Status(ctx) // an agent serves one resource
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
		return nil //nolint:nilerr // connecting to the vault returns the same error
	}
	key, _ := api.ParseKey(s.Settings.APIKey)
	s.Scrub(key)
	s.client, s.local = client, &localSource{client.Source(s.resource, s.named), s}
	return nil
}

// OtherVault returns an error unless an agent serves the named vault, if one is named.
func OtherVault(s agent.Status, named string) error {
	if named == "" || s.Vault == named {
		return nil
	}
	return &socket.OtherVault{Socket: s.Socket, Serves: s.Vault, Named: named}
}

// hurried makes a request to the agent, within agentPatience if the vault can be asked instead.
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

// localSource is the agent as a command's source.
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

// pass logs that the vault is asked instead of the agent, once until the agent returns a set. An agent that serves another
// vault than the named one isn't asked again. The caller holds mu.
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

// connectVault starts to connect to the vault, and meanwhile removes the key from the arguments and environment of this process.
// The caller holds mu.
func (s *supply) connectVault() error {
	if s.vault != nil {
		return nil
	}
	inherited.EndByFaults()
	key, keyErr := s.Settings.Key()
	s.WarnExposed(key)
	resource, err := s.Settings.Resource()
	if err := errors.Join(keyErr, err); err != nil {
		return err
	}
	client, err := fetch.New(s.Settings.ClientConfig(s.Program, key))
	if err == nil {
		client.Connect()
	}
	s.Scrub(key.Key)
	if err != nil {
		return err
	}
	if s.local == nil {
		s.resource = resource
	}
	s.vault, s.remote, s.key = client, client.Source(resource), key
	if s.Settings.Cache {
		s.cache, err = s.Settings.NewCache(s.Environ, key, resource, client.Key)
	}
	return err
}

// instead returns the vault as the source after an error of the agent, if there is a key.
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

// first returns the first set, and creates the engine that can follow changes.
func (s *supply) first(ctx context.Context) (api.Snapshot, error) {
	conf := agent.Config{Resource: s.resource, Heap: true, Log: s.Log}
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

// recovers reports whether a refusal may end: the agent may get another key, or the key file may be replaced.
func (s *supply) recovers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client != nil && s.other == nil || s.vault != nil && !s.key.Changed.IsZero()
}

// hasAgent reports whether there is an agent to ask.
func (s *supply) hasAgent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client != nil && s.other == nil
}

// Close closes idle connections.
func (s *supply) Close() {
	if s.client != nil {
		s.client.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vault != nil {
		s.vault.Close()
	}
}

// Keyless adds a hint to an error of the agent, if there is no key for the vault.
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
