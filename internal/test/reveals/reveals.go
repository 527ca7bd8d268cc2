// Package reveals keeps thousands of waiting reveals in one process, each as an agent does: on a connection of its own it waits for
// a change of its resource's set, opens what it receives, and waits again. After an error it connects again, with the pauses of an agent.
//
// An agent here is one goroutine and a few kilobytes. It writes its requests itself, reads responses with net/http, and keeps one
// key pair for all of its requests, since clients are on other machines than the vault that is measured.
package reveals

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// The pauses of an agent after failures.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
)

// Agent is a resource, and its key.
type Agent struct {
	Resource api.Resource
	Key      string
}

// Config configures a Group.
type Config struct {
	// Vaults are the HOST:PORT of one or several vaults. An agent connects to the one that it used last, or if that doesn't accept the
	// connection, to the next, as with a name of several addresses. The first one differs between agents.
	Vaults []string
	TLS    *tls.Config // nil: http
	Agents []Agent

	Wait   time.Duration // of one reveal, in whole seconds; 0: 50 s, as an agent
	Spread time.Duration // over which the agents begin, at random; 0: all at once

	// Opened is called, at the same time by many agents, for each set that an agent has opened. The values are wiped after it returns.
	// nil: none.
	Opened func(agent int, set api.Snapshot)
}

// Counts are what has happened so far.
type Counts struct {
	Holding   int         // agents that have a set
	Waiting   int         // agents that have sent a waiting reveal
	Opened    int         // sets
	Unchanged int         // responses that say that nothing has changed
	Refused   map[int]int // other responses, by status
	Failed    int         // connections that weren't accepted, or broke
	Backwards int         // sets with a lower version of a secret than before
	Unopened  int         // sets that didn't open
	Errors    []string    // different ones, the first few
}

// Group is a number of agents.
type Group struct {
	conf   Config
	agents []*agent

	holding, waiting, opened, unchanged, failed, backwards, unopened atomic.Int64

	mu      sync.Mutex // guards the fields below
	refused map[int]int
	errs    []string
}

// New generates the key pairs of a group.
func New(c Config) (*Group, error) {
	if len(c.Vaults) == 0 || len(c.Agents) == 0 {
		return nil, errors.New("vaults and agents are required")
	}
	if c.Wait == 0 {
		c.Wait = 50 * time.Second
	}
	g := &Group{conf: c, refused: map[int]int{}, agents: make([]*agent, len(c.Agents))}
	for i, a := range c.Agents {
		opener, err := api.NewOpener(a.Resource)
		if err != nil {
			return nil, err
		}
		g.agents[i] = &agent{Agent: a, group: g, number: i, vault: i % len(c.Vaults), opener: opener, versions: map[string]int64{}}
	}
	return g, nil
}

// Run runs the agents until ctx ends, and returns when all have ended.
func (g *Group) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, a := range g.agents {
		all.Go(func() {
			if delay.Sleep(ctx, delay.Random(g.conf.Spread)) == nil {
				a.run(ctx)
			}
		})
	}
	all.Wait()
}

// Counts returns what has happened so far.
func (g *Group) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{
		Holding: int(g.holding.Load()), Waiting: int(g.waiting.Load()), Opened: int(g.opened.Load()), Unchanged: int(g.unchanged.Load()),
		Refused: maps.Clone(g.refused), Failed: int(g.failed.Load()),
		Backwards: int(g.backwards.Load()), Unopened: int(g.unopened.Load()), Errors: slices.Clone(g.errs),
	}
}

// refuse counts a response that is neither a set nor says that there is no other.
func (g *Group) refuse(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused[status]++
}

// note keeps the first few different errors.
func (g *Group) note(err error) {
	const most = 10
	g.mu.Lock()
	defer g.mu.Unlock()
	if text := api.RedactKeys(err.Error()); len(g.errs) < most && !slices.Contains(g.errs, text) {
		g.errs = append(g.errs, text)
	}
}
