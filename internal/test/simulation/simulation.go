package simulation

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/silence"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// Second counts what happens in a second.
type Second struct {
	Requests    int // that arrived at replicas
	Connections int // opened
	Refused     int // requests, by a limit
	GivenUp     int // requests, because the response took too long
	Events      int // audit events written
	Stale       int // agents whose last request failed or that don't have the newest version, at the end
}

// Result is what a simulation has counted.
type Result struct {
	Seconds []Second
	// Delay is the longest time that a request has waited for a processor of a replica, and an event for the database.
	Delay, DatabaseDelay time.Duration
}

// Simulation is a running simulation.
type Simulation struct {
	model     *Model
	faults    []Fault
	now       time.Duration
	begun     time.Time
	wheel     wheel
	agents    []agent
	databases []*database
	closed    closed
	failing   bool // every request gets status 500
	stale     int  // agents that are not current
	result    Result
}

// Run simulates a model with faults for a time. It must be called in a synctest bubble.
func Run(m *Model, faults []Fault, length time.Duration) (*Result, error) {
	values, err := m.limits()
	if err != nil {
		return nil, err
	}
	s := &Simulation{model: m, faults: faults, begun: time.Now(), wheel: make(wheel, length/tick+1), agents: make([]agent, m.Agents)}
	s.result.Seconds = make([]Second, length/time.Second+1)
	for i := range m.Databases() {
		d := &database{tenant: "t" + strconv.Itoa(i), version: 1, cpu: newResource(m.DatabaseCores), writer: newResource(1)}
		for range m.ReplicasEach() {
			r := &replica{database: d, values: values}
			r.start(m.Cores)
			d.replicas = append(d.replicas, r)
		}
		s.databases = append(s.databases, d)
	}
	for i := range s.agents {
		a := &s.agents[i]
		a.key, a.database, a.version, a.index = strconv.Itoa(i), s.databases[i%len(s.databases)], 1, -1
		s.follow(a, delay.Random(time.Minute)) // they were started one by one
	}
	s.run(length)
	return &s.result, nil
}

// run runs all steps until length.
func (s *Simulation) run(length time.Duration) {
	for slot := range s.wheel {
		s.now = time.Duration(slot) * tick
		if s.now%time.Second == 0 && slot > 0 {
			s.result.Seconds[s.now/time.Second-1].Stale = s.stale
		}
		s.change()
		if len(s.wheel[slot]) == 0 || s.now == length {
			continue
		}
		sleepUntil(s.begun.Add(s.now))
		s.breakClosed()
		for _, e := range s.wheel[slot] {
			if e.agent.request == e.request {
				s.do(e.agent, e.step)
			}
		}
		s.wheel[slot] = nil
	}
	for _, d := range s.databases {
		for _, r := range d.replicas {
			s.result.Delay = max(s.result.Delay, r.cpu.longest)
		}
		s.result.DatabaseDelay = max(s.result.DatabaseDelay, d.cpu.longest, d.writer.longest)
	}
}

// do runs a step of an agent.
func (s *Simulation) do(a *agent, next step) {
	if a.cut && next != send && next != giveUp {
		return // what the network loses
	}
	switch next {
	case send:
		s.send(a)
	case arrive:
		s.arrive(a)
	case decide:
		s.decide(a)
	case end:
		if a.index >= 0 { // else it has ended before
			s.serve(a, s.model.Costs.Request, func(at time.Duration) { s.respond(a, at, http.StatusNotModified, 0) })
		}
	case answer:
		s.answered(a)
	case giveUp:
		if !a.cut {
			s.current().GivenUp++
		}
		a.leave()
		a.drop()
		s.fail(a, 0)
	}
}

// change begins and ends faults.
func (s *Simulation) change() {
	for _, f := range s.faults {
		switch s.now {
		case f.Start:
			s.begin(f.Kind)
		case f.End:
			s.finish(f.Kind)
		}
		if s.now == f.Rotate && f.Rotate > 0 {
			s.rotate()
		}
	}
}

func (s *Simulation) begin(k Kind) {
	switch k {
	case Restart:
		for _, d := range s.databases {
			for _, r := range d.replicas {
				s.stop(r)
			}
		}
		for i := range s.agents {
			if a := &s.agents[i]; a.conn != nil {
				_ = a.conn.limited.Close()
			}
		}
		s.breakClosed()
	case Partition:
		for i := range s.agents {
			a := &s.agents[i]
			if a.cut = i%3 == 0; a.cut && a.busy {
				s.schedule(min(a.limit(), s.now+silence.Limit), a, giveUp)
			}
		}
	case Errors:
		s.failing = true
		for i := range s.agents {
			if a := &s.agents[i]; a.index >= 0 {
				s.respond(a, s.now, http.StatusInternalServerError, 0)
			}
		}
	}
}

// stop ends the waits of a replica.
func (s *Simulation) stop(r *replica) {
	r.up = false
	waiting := len(r.waiting)
	for len(r.waiting) > 0 {
		a := r.waiting[0]
		a.leave()
		a.drop()
		a.status, a.asked = http.StatusServiceUnavailable, time.Duration(limit.WholeSeconds(limit.StopPause(waiting)))*time.Second
		s.schedule(s.now, a, answer)
	}
}

func (s *Simulation) finish(k Kind) {
	switch k {
	case Restart:
		for _, d := range s.databases {
			for _, r := range d.replicas {
				r.start(s.model.Cores)
			}
		}
	case Partition:
		for i := range s.agents {
			s.agents[i].cut = false
		}
	case Errors:
		s.failing = false
	}
}

// rotate rotates the secret, which wakes the reveals that wait.
func (s *Simulation) rotate() {
	for _, d := range s.databases {
		d.version++
	}
	for i := range s.agents {
		s.setCurrent(&s.agents[i], false)
	}
	if s.failing {
		return
	}
	for _, d := range s.databases {
		for _, r := range d.replicas {
			for len(r.waiting) > 0 {
				s.reveal(r.waiting[0])
			}
		}
	}
}

// breakClosed ends the requests on connections that were closed.
func (s *Simulation) breakClosed() {
	for _, c := range s.closed.take() {
		c.replica.connections--
		if a := c.agent; a.conn == c {
			a.leave()
			a.conn = nil
			if a.busy && !a.cut {
				s.fail(a, 0)
			}
		}
	}
}

func (s *Simulation) schedule(at time.Duration, a *agent, next step) {
	s.wheel.add(s.now, at, event{a, a.request, next})
}

// current is what is counted now.
func (s *Simulation) current() *Second { return &s.result.Seconds[s.now/time.Second] }

// setCurrent notes whether an agent has the newest version, and its last request has succeeded.
func (s *Simulation) setCurrent(a *agent, current bool) {
	switch {
	case current && a.stale:
		s.stale--
	case !current && !a.stale:
		s.stale++
	}
	a.stale = !current
}

// sleepUntil lets the bubble's time pass.
func sleepUntil(at time.Time) { _ = delay.Sleep(context.Background(), time.Until(at)) }
