package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/task"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

const defaultMaxAge = cache.DefaultMaxAge

// spec is the part of a configuration that a resource is made from. When it changes, the resource is replaced, and its connections end.
type spec struct {
	resource    api.Resource
	keyFile     string // of the CA; empty: none
	hosts       []string
	roots       *x509.CertPool // nil: the system's
	rootsHash   [sha256.Size]byte
	connections int
}

// equal reports whether both make the same resource.
func (c spec) equal(o spec) bool {
	return c.resource == o.resource && c.keyFile == o.keyFile && slices.Equal(c.hosts, o.hosts) &&
		(c.roots == nil) == (o.roots == nil) && c.rootsHash == o.rootsHash && c.connections == o.connections
}

// spec returns that of a resource: its first listener has what all share.
func (s *settings) spec(r api.Resource) spec {
	l := s.listeners(r)[0]
	return spec{
		resource: r, keyFile: l.CAKeyFile, hosts: l.Hosts, roots: s.roots[l.Upstream], rootsHash: s.files[l.Upstream],
		connections: l.MaxConnections(),
	}
}

// resource is a resource whose requests the broker serves: the engine that follows its set, and the proxy that uses it.
type resource struct {
	api.Resource
	spec      spec
	engine    *agent.Engine
	authority *ca.Authority
	server    *proxy.Server
	log       zerolog.Logger

	set        atomic.Pointer[proxy.Set]
	maxAge     atomic.Int64  // of a set that the vault doesn't confirm, in nanoseconds
	proxied    *proxy.Queue  // connections of clients that use an HTTP proxy
	redirected *proxy.Queue  // connections that the kernel has redirected
	answered   chan struct{} // closed when it is known whether there is a set
	tasks      []*task.Task
}

// newResource makes a resource. It starts nothing.
func (b *broker) newResource(s *settings, c spec, client *fetch.Client) (*resource, error) {
	log := b.log.With().Stringer("resource", c.resource).Logger()
	r := &resource{Resource: c.resource, spec: c, log: log, proxied: proxy.NewQueue(), redirected: proxy.NewQueue(), answered: make(chan struct{})}
	r.maxAge.Store(int64(defaultMaxAge))
	r.set.Store(proxy.NoSet(starting))
	var err error
	if r.authority, err = openAuthority(c); err != nil {
		return nil, s.authorityProblem(c, err)
	}
	r.engine, err = agent.New(agent.Config{
		Resource: c.resource, Source: client.Source(c.resource), Cache: s.cache(c.resource), Sleep: agent.WatchSleep,
		Changes: zerolog.InfoLevel, Version: version, Log: log,
	})
	if err != nil {
		return nil, err
	}
	r.server = proxy.New(proxy.Config{
		Resource: c.resource, Authority: r.authority, Set: r.set.Load, Recorder: b.recorder(c.resource),
		Roots: c.roots, Limits: proxy.Limits{Connections: c.connections}, Log: log,
	})
	return r, nil
}

// openAuthority makes the CA of a resource, or reads it from its file.
func openAuthority(c spec) (*ca.Authority, error) {
	if c.keyFile == "" {
		return ca.New(c.resource.String(), c.hosts)
	}
	kept, err := readAuthority(c)
	if !errors.Is(err, fs.ErrNotExist) {
		return kept, err
	}
	made, err := ca.New(c.resource.String(), c.hosts)
	if err != nil {
		return nil, err
	}
	err = newfile.Write(c.keyFile, func() (string, error) {
		text, err := made.Marshal()
		return string(text), err
	})
	if errors.Is(err, fs.ErrExist) { // another broker has made it meanwhile
		return readAuthority(c)
	}
	return made, err
}

// readAuthority reads the CA of a resource from its file. Errors: fs.ErrNotExist and others of the system; those of ca.Parse.
func readAuthority(c spec) (*ca.Authority, error) {
	text, err := trusted.ReadSecret(c.keyFile)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return ca.Parse(text, c.resource.String(), c.hosts)
}

// authorityProblem is the error of a resource whose CA can't be read from its file, or written to it.
func (s *settings) authorityProblem(c spec, err error) error {
	problem := fmt.Errorf("ca_key_file: %s: %w", c.keyFile, cause.Of(err))
	if errors.Is(err, fs.ErrNotExist) {
		problem = cli.WithHint(problem, "create its folder "+filepath.Dir(c.keyFile)+", with mode 0700")
	} else if _, system := errors.AsType[*fs.PathError](err); !system {
		problem = cli.WithHint(problem, "name another file, or remove this one: then the broker makes another certificate authority, whose certificate its clients need")
	}
	return s.listeners(c.resource)[0].Problem("ca_key_file", problem)
}

// certificateProblem is the error of a listener whose file for the certificate can't be written.
func certificateProblem(l *config.Listener, err error) error {
	problem := fmt.Errorf("ca_file: %s: %w", l.CAFile, cause.Of(err))
	if errors.Is(err, fs.ErrNotExist) {
		problem = cli.WithHint(problem, "create its folder "+filepath.Dir(l.CAFile))
	}
	return l.Problem("ca_file", problem)
}

// checkAuthorities reports the problems that a start would have with the files of the resources' CAs. It creates nothing.
func (s *settings) checkAuthorities() error {
	var problems []error
	made := []string{filepath.Dir(s.Socket)} // folders that a start creates
	for i := range s.Listeners {
		if path, ok := strings.CutPrefix(s.Listeners[i].Address, "unix:"); ok {
			made = append(made, filepath.Dir(path))
		}
	}
	folderOf := func(path string) error { // fails if it is missing
		folder := filepath.Dir(path)
		if slices.Contains(made, folder) {
			return nil
		}
		_, err := os.Stat(folder)
		return err
	}
	for _, r := range s.resources {
		if c := s.spec(r); c.keyFile != "" {
			_, err := readAuthority(c)
			if errors.Is(err, fs.ErrNotExist) { // a start makes it
				err = folderOf(c.keyFile)
			}
			if err != nil {
				problems = append(problems, s.authorityProblem(c, err))
			}
		}
		for _, l := range s.listeners(r) {
			if l.CAFile == "" {
				continue
			}
			if err := folderOf(l.CAFile); err != nil {
				problems = append(problems, certificateProblem(l, err))
			}
		}
	}
	return errors.Join(problems...)
}

// writeCertificate writes the CA's certificate to the files of the resource's listeners.
func (r *resource) writeCertificate(s *settings) error {
	for _, l := range s.listeners(r.Resource) {
		if l.CAFile == "" {
			continue
		}
		if text, err := os.ReadFile(l.CAFile); err == nil && string(text) == string(r.authority.PEM()) {
			continue
		}
		err := newfile.Put(l.CAFile, filepath.Base(l.CAFile)+".*", r.authority.PEM())
		if err == nil {
			err = os.Chmod(l.CAFile, 0o644) //nolint:gosec // it is for everyone
		}
		if err != nil {
			return certificateProblem(l, err)
		}
	}
	return nil
}

// firstAnswer is how long connections wait after a start for the vault's answer, or the cache, before they are refused.
const firstAnswer = 5 * time.Second

// start starts the engine and the proxy, which reports to failed if it ends by itself.
func (r *resource) start(failed chan<- error) {
	start := func(f func(context.Context)) { r.tasks = append(r.tasks, task.Start(context.Background(), f)) }
	start(func(ctx context.Context) {
		select {
		case <-r.answered:
		case <-time.After(firstAnswer):
		case <-ctx.Done():
		}
		err := r.server.Run(ctx, proxy.Listener{Listener: r.proxied}, proxy.Listener{Listener: r.redirected, Transparent: true})
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	})
	start(r.follow)
	start(func(ctx context.Context) { _ = r.engine.Run(ctx) })
}

// close ends everything, first the proxy, which gives requests time to finish.
func (r *resource) close() {
	for _, t := range r.tasks {
		t.Close()
	}
}

// Why the requests of a resource are refused while it has no set.
const (
	starting = "the broker has no set of this resource yet: the vault hasn't answered"
	refused  = "the vault refuses the broker's key"
	tooOld   = "the vault hasn't confirmed the set of this resource for too long"
	unusable = "the vault returned a set that the broker can't use"
	noReveal = "the vault has no values for brokers"
)

// use replaces the proxy's set.
func (r *resource) use(set *proxy.Set) {
	r.set.Store(set)
	r.server.Changed()
}

// follow keeps the proxy's set equal to the engine's. Without one it refuses everything: which hosts the policy allows, and
// where values may be sent, isn't known then.
func (r *resource) follow(ctx context.Context) {
	answer := sync.OnceFunc(func() { close(r.answered) })
	etag, why := "", starting // of the proxy's set: why there is none
	none := func(reason string) {
		if why != reason {
			etag, why = "", reason
			r.use(proxy.NoSet(reason))
		}
	}
	for {
		changed := r.engine.Changed() // before the set is read, so that no change is missed
		set, status := r.engine.Snapshot()
		left := time.Duration(r.maxAge.Load()) - time.Duration(status.Age*float64(time.Second))
		var expires <-chan time.Time
		switch {
		case status.State == agent.Refused:
			if why != refused {
				r.log.Error().Str("hint", "is it a broker key of this resource? else "+createKey(r.String())).Msg("key refused: refusing requests")
			}
			none(refused)
		case status.State == agent.Starting:
			none(starting)
		case status.Placeholders: // listed bindings: there is neither a value nor a policy
			none(noReveal)
		case status.State == agent.Stale && left <= 0:
			if why != tooOld {
				r.log.Error().Str("last_confirmed", status.ConfirmedAt.Format(time.RFC3339)).Msg("set is too old: refusing requests")
			}
			none(tooOld)
		default:
			if status.State == agent.Stale {
				expires = time.After(left)
			}
			if etag == set.Etag && (why == "" || why == unusable) {
				break
			}
			compiled, err := proxy.NewSet(set)
			if err != nil {
				r.log.Error().Err(err).Str("etag", set.Etag).Msg("set unusable: refusing requests")
				none(unusable)
				etag = set.Etag
				break
			}
			etag, why = set.Etag, ""
			r.use(compiled)
		}
		if status.State != agent.Starting {
			answer()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-expires:
		}
	}
}
