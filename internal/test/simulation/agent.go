package simulation

import (
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
	"github.com/Miosa-osa/miosa-env/internal/silence"
)

// agent is an agent that follows its resource.
type agent struct {
	key      string
	database *database
	cut      bool // off by a partition

	pace     pace.Wait
	retry    *delay.Backoff // nil: no failure yet
	failures int            // in a row
	version  int            // of the secret that it has

	busy    bool          // a request is under way
	stale   bool          // see setCurrent
	conn    *connection   // nil: none
	request uint32        // number of the current request
	began   time.Duration // the current request
	wait    time.Duration // of the current request
	release func()        // the place of a waiting request; nil: none
	index   int           // in the list of waiting agents of its replica; -1: it doesn't wait

	status int           // of the response under way
	asked  time.Duration // the pause that it asks for
	next   int           // version of the secret in it
}

// limit is when the agent gives up its request.
func (a *agent) limit() time.Duration { return a.began + pace.AnswerTime + a.wait }

// follow begins the next request after a pause.
func (s *Simulation) follow(a *agent, pause time.Duration) {
	before, wait := a.pace.Next(false)
	if s.model.Together && wait > 0 {
		wait = time.Minute
	}
	a.request++
	a.busy = false
	a.wait = wait
	s.schedule(s.now+pause+before, a, send)
}

// send begins a request: on the open connection, or on a new one.
func (s *Simulation) send(a *agent) {
	a.began = s.now
	a.busy = true
	if a.conn != nil {
		if a.cut {
			s.schedule(min(a.limit(), s.now+silence.Limit), a, giveUp)
			return
		}
		s.arrive(a)
		return
	}
	if a.cut {
		s.schedule(s.now+pace.ConnectTime, a, giveUp)
		return
	}
	r := a.database.choose()
	if r == nil {
		s.fail(a, 0) // connection refused
		return
	}
	r.accept(s, a)
	if s.breakClosed(); a.conn == nil {
		return
	}
	s.current().Connections++
	done, ok := r.cpu.take(s.now, s.model.Costs.Handshake, s.now+pace.ConnectTime)
	if !ok {
		s.schedule(s.now+pace.ConnectTime, a, giveUp)
		return
	}
	s.schedule(done, a, arrive)
}

// answered handles a response.
func (s *Simulation) answered(a *agent) {
	took := s.now - a.began
	switch a.status {
	case http.StatusOK:
		a.version = a.next
		a.pace.Changed()
	case http.StatusNotModified:
		a.pace.Unchanged(took)
	default:
		s.fail(a, a.asked)
		return
	}
	if a.failures > 0 {
		a.failures = 0
		a.retry.Reset()
	}
	s.setCurrent(a, a.version == a.database.version)
	s.follow(a, 0)
}

// fail ends a request without a usable response. The vault asks for a pause, or for none.
func (s *Simulation) fail(a *agent, asked time.Duration) {
	if a.retry == nil {
		a.retry = pace.NewRetry()
	}
	s.setCurrent(a, false)
	a.failures++
	a.pace.Failed()
	s.follow(a, a.retry.NextRandom(pace.Asked(asked)))
}

// drop closes the agent's connection.
func (a *agent) drop() {
	if a.conn != nil {
		_ = a.conn.limited.Close()
		a.conn = nil
	}
}
