package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

const (
	// patience is how long the vault has to answer before a command starts from the cache.
	patience = 700 * time.Millisecond
	// agentPatience is how long the agent has for the first set, where there is a key to ask the vault
	// with: a moment longer than it holds a request while it is starting.
	agentPatience = 1500 * time.Millisecond
)

var errHangs = errors.New("the agent doesn't answer in time")

// supply is where a command's values come from: the agent on this machine where one serves the resource
// that is meant, else the vault. It is an agent.Source, for one goroutine.
type supply struct {
	*program
	resource api.Resource
	named    string             // the vault that is named; empty: none, so that the agent's is meant
	client   *agent.Client      // of the agent; nil: it isn't asked
	local    *agent.LocalSource // the same
	vault    connection         // its Client is nil until the vault is asked
	remote   *fetch.Source      // the same
	cache    *agent.Cache       // nil: there is none
	spoiled  bool               // it is of no use
	bypassed bool               // the vault was asked because the agent gave nothing, and that has been logged
}

// addAgentFlag adds --no-agent to a command that asks the agent first.
func (p *program) addAgentFlag(f *pflag.FlagSet) {
	f.BoolVar(&p.settings.noAgent, "no-agent", false, "ask the vault, even if an agent on this machine has the values")
}

// supply decides between the agent and the vault. Neither has been asked for values yet.
func (p *program) supply(ctx context.Context) (*supply, error) {
	s := &supply{program: p}
	if !p.settings.noAgent {
		var err error
		if s.named, err = p.settings.namedVault(); err != nil {
			return s, err
		}
		if err := s.dial(ctx); err != nil {
			switch {
			case errors.Is(err, agent.ErrNotSocket):
				return s, err
			case ctx.Err() != nil || !p.settings.hasKey():
				return s, keyless(err)
			}
			s.pass(err)
		}
	}
	if s.local != nil {
		return s, nil
	}
	return s, s.connectVault()
}

// dial connects to the agent, if there is one. It makes do without a key.
// Errors: why it can't be asked; that there is none isn't one.
func (s *supply) dial(ctx context.Context) error {
	client, err := s.dialAgent()
	switch {
	case errors.Is(err, agent.ErrNoAgent):
		return nil
	case err != nil:
		return err
	}
	if s.settings.sandbox == "" && s.settings.computer == "" {
		err = s.hurried(ctx, func(ctx context.Context) error {
			status, err := client.Status(ctx) // there is one resource it can be about
			s.resource = status.Resource
			if err == nil {
				err = otherVault(status, s.named)
			}
			return err
		})
		if err != nil {
			client.Close()
			return err
		}
	} else if s.resource, err = s.settings.resource(); err != nil {
		client.Close()
		return nil //nolint:nilerr // the same error comes of asking the vault
	}
	key, _ := api.ParseKey(s.settings.apiKey)
	if err := inject.Scrub(key); err != nil {
		s.log.Warn().Err(err).Msg("the key stays visible in this process's environment or arguments")
	}
	s.client, s.local = client, client.Source(s.resource).Of(s.named)
	return nil
}

// otherVault is the error where an agent isn't known to serve the vault that is named.
func otherVault(s agent.Status, named string) error {
	if named == "" || s.Vault == named {
		return nil
	}
	return &agent.OtherVault{Socket: s.Socket, Serves: s.Vault, Named: named}
}

// hurried asks the agent for something to start with. It doesn't take its time where the vault can be
// asked instead.
func (s *supply) hurried(ctx context.Context, ask func(context.Context) error) error {
	if !s.settings.hasKey() {
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

// pass says why the vault is asked and not the agent, once as long as that is so. An agent of another vault than
// the one that is named isn't asked again.
func (s *supply) pass(err error) {
	if _, other := errors.AsType[*agent.OtherVault](err); other && s.client != nil {
		s.client.Close()
		s.client, s.local = nil, nil
	}
	if s.bypassed {
		return
	}
	s.bypassed = true
	event := s.log.Debug()
	switch {
	case errors.Is(err, agent.ErrNoAgent), errors.Is(err, agent.ErrOtherResource), errors.Is(err, api.ErrDenied):
	default:
		event = s.log.Warn()
	}
	event.Err(err).Msg("the agent gives no values: asking the vault")
}

// connectVault makes a client of the vault, which opens no connection yet.
func (s *supply) connectVault() error {
	if s.remote != nil {
		return nil
	}
	vault, err := s.connect()
	if err != nil {
		return err
	}
	s.vault, s.resource, s.remote = vault, vault.resource, vault.Source(vault.resource)
	if !s.settings.cache.on {
		return nil
	}
	return s.openCache()
}

// openCache takes the cache that is sealed under the key.
func (s *supply) openCache() error {
	cache, err := s.settings.newCache(s.environ, s.vault.key, s.resource)
	if err == nil {
		s.cache = cache
	}
	return err
}

// Close ends what Next left open.
func (s *supply) Close() {
	if s.client != nil {
		s.client.Close()
	}
	if s.vault.Client != nil {
		s.vault.Close()
	}
}

// Placeholders reports whether no value of the last set is a secret.
func (s *supply) Placeholders() bool {
	if s.remote != nil {
		return s.remote.Placeholders()
	}
	return s.local.Placeholders()
}

// Next gives the set as agent.Source says, of the agent if it can. Where that gives nothing the vault is
// asked, if there is a key, and the agent again next time.
func (s *supply) Next(ctx context.Context, etag string) (api.Snapshot, error) {
	if s.local == nil {
		return s.ask(ctx, etag)
	}
	set, err := s.asked(ctx, etag)
	if err == nil || errors.Is(err, api.ErrNotModified) || ctx.Err() != nil {
		s.bypassed = false
		return set, err
	}
	if !s.settings.hasKey() {
		return set, keyless(err)
	}
	s.pass(err)
	if err := s.connectVault(); err != nil {
		return api.Snapshot{}, err
	}
	return s.ask(ctx, etag)
}

// asked gives the agent's set.
func (s *supply) asked(ctx context.Context, etag string) (set api.Snapshot, err error) {
	if etag != "" {
		return s.local.Next(ctx, etag)
	}
	err = s.hurried(ctx, func(ctx context.Context) error {
		set, err = s.local.Next(ctx, etag)
		return err
	})
	return set, err
}

// ask asks the vault, and keeps the cache equal to what it says.
func (s *supply) ask(ctx context.Context, etag string) (api.Snapshot, error) {
	if s.cache != nil && etag == "" {
		return s.cached(ctx)
	}
	set, err := s.remote.Next(ctx, etag)
	if s.cache != nil {
		s.note(set, err)
	}
	return set, err
}

// keyless says what to do about an agent that gives nothing, for who can't ask the vault.
func keyless(err error) error {
	hint := "miosa-env status says why; with a key in MIOSA_API_KEY the vault is asked instead"
	other, isOther := errors.AsType[*agent.OtherVault](err)
	switch {
	case isOther && other.Serves == "":
		hint = "restart the agent, which is of an older version; or set MIOSA_API_KEY to ask the vault"
	case isOther:
		hint = "leave out --base-url and MIOSA_BASE_URL to have the agent's values, or set MIOSA_API_KEY to a key of the vault that is named"
	case errors.Is(err, agent.ErrOtherResource):
		hint = "miosa-env status says which; with a key in MIOSA_API_KEY the vault is asked instead"
	case errors.Is(err, agent.ErrUntrusted):
		hint = onlyTrusted + "; with a key in MIOSA_API_KEY the vault is asked instead"
	case errors.Is(err, api.ErrDenied):
		hint = haveAllowed + ", or set MIOSA_API_KEY"
	}
	return cli.WithHint(err, hint)
}

// first gives the set to start with. Without an answer of the vault it is the cache's, if there is one.
func (s *supply) first(ctx context.Context) (api.Snapshot, error) {
	set, err := s.Next(ctx, "")
	if err == nil && s.remote == nil {
		if age, stale := s.local.Age(); stale {
			s.log.Warn().Stringer("age", age.Round(time.Second)).Msg("the vault is out of reach: the agent's last values are used")
		}
	}
	return set, err
}

// hasKey reports whether there is something that should be a key.
func (s *settings) hasKey() bool {
	if s.apiKey != "" || s.keyFile != "" {
		return true
	}
	if s.credentials == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(s.credentials, credentialName))
	return !errors.Is(err, fs.ErrNotExist)
}
