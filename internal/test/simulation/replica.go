package simulation

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// database is a PostgreSQL server, with the replicas that use it and the data of one tenant.
type database struct {
	tenant   string
	version  int // of the secret
	cpu      *resource
	writer   *resource
	replicas []*replica
}

// choose returns one of two random replicas that run: the one with fewer connections, as a proxy does. It returns nil if none
// of them runs.
func (d *database) choose() *replica {
	pick := func() *replica { return d.replicas[rand.IntN(len(d.replicas))] } //nolint:gosec // of a simulation
	a, b := pick(), pick()
	switch {
	case !a.up && !b.up:
		return nil
	case !a.up, b.up && b.connections < a.connections:
		return b
	}
	return a
}

// replica is a vault.
type replica struct {
	database    *database
	up          bool
	cpu         *resource
	values      limit.Values
	listener    *limit.Listener
	requests    *limit.RequestLimits
	operations  *limit.Operations
	incoming    *connection // that Accept returns next
	connections int
	waiting     []*agent
}

// start starts the vault's process.
func (r *replica) start(cores int) {
	r.up, r.cpu, r.connections, r.waiting = true, newResource(cores), 0, nil
	r.listener = limit.Listen(incoming{r}, &r.values, func(limit.ID) {})
	r.requests = limit.NewRequestLimits(&r.values)
	r.operations = limit.NewOperations(&r.values)
}

// incoming is the listener under the limits of connections.
type incoming struct{ replica *replica }

func (i incoming) Accept() (net.Conn, error) { return i.replica.incoming, nil }
func (i incoming) Close() error              { return nil }
func (i incoming) Addr() net.Addr            { return &net.TCPAddr{} }

// connection is an agent's connection to a replica. It transfers nothing.
type connection struct {
	net.Conn
	simulation *Simulation
	agent      *agent
	replica    *replica
	limited    *limit.Conn
	presented  bool // the key
}

// RemoteAddr is the address of the proxy.
func (c *connection) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443} }

// Close is called by the simulation, or by the limits: for an older connection during Accept, or by a timer.
func (c *connection) Close() error {
	c.simulation.closed.add(c)
	return nil
}

// closed are connections that were closed.
type closed struct {
	mu   sync.Mutex // guards list: timers run in their own goroutines
	list []*connection
}

func (c *closed) add(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, conn)
}

func (c *closed) take() []*connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// accept accepts a connection of an agent.
func (r *replica) accept(s *Simulation, a *agent) {
	r.incoming = &connection{simulation: s, agent: a, replica: r}
	a.conn = r.incoming
	accepted, _ := r.listener.Accept()
	a.conn.limited = accepted.(*limit.Conn)
	r.connections++
}

// arrive handles a request at a replica.
func (s *Simulation) arrive(a *agent) {
	r := a.conn.replica
	s.current().Requests++
	if s.failing {
		s.serve(a, s.model.Costs.Request, func(at time.Duration) { s.respond(a, at, http.StatusInternalServerError, 0) })
		return
	}
	if !a.conn.presented {
		if err := a.conn.limited.Present(a.database.tenant); err != nil {
			s.refuse(a, err)
			return
		}
		a.conn.presented = true
	}
	if err := r.requests.Take(a.key, a.database.tenant, 0); err != nil {
		s.refuse(a, err)
		return
	}
	release, err := r.requests.Wait(a.key, a.database.tenant)
	if err != nil {
		s.refuse(a, err)
		return
	}
	a.release = release
	s.serve(a, s.model.Costs.Request, func(at time.Duration) {
		if at, ok := a.database.cpu.take(at, s.model.Costs.Read, a.limit()); ok {
			s.schedule(at, a, decide)
			return
		}
		s.schedule(a.limit(), a, giveUp)
	})
}

// serve takes a time of the replica's processors, and continues after it, unless the agent gives up before.
func (s *Simulation) serve(a *agent, cost time.Duration, then func(at time.Duration)) {
	if at, ok := a.conn.replica.cpu.take(s.now, cost, a.limit()); ok {
		then(at)
		return
	}
	s.schedule(a.limit(), a, giveUp)
}

// decide responds to a request whose set is known, or lets it wait for a change.
func (s *Simulation) decide(a *agent) {
	switch {
	case s.failing:
		s.respond(a, s.now, http.StatusInternalServerError, 0)
	case a.version != a.database.version:
		s.reveal(a)
	case a.wait == 0:
		s.respond(a, s.now, http.StatusNotModified, 0)
	default:
		r := a.conn.replica
		a.index = len(r.waiting)
		r.waiting = append(r.waiting, a)
		s.schedule(a.began+a.wait, a, end)
	}
}

// reveal responds with the set, after its audit event is written.
func (s *Simulation) reveal(a *agent) {
	a.leave()
	if err := a.conn.replica.operations.Event(a.database.tenant); err != nil {
		s.refuse(a, err)
		return
	}
	a.next = a.database.version
	s.serve(a, s.model.Costs.Reveal, func(sealed time.Duration) {
		read, ok := a.database.cpu.take(s.now, s.model.Costs.Read, a.limit())
		if ok {
			var audited time.Duration
			if audited, ok = a.database.writer.take(read, s.model.Costs.Event, a.limit()); ok {
				s.current().Events++
				s.respond(a, max(sealed, audited), http.StatusOK, 0)
				return
			}
		}
		s.schedule(a.limit(), a, giveUp)
	})
}

// leave takes the agent off the waiting ones.
func (a *agent) leave() {
	if a.release != nil {
		a.release()
		a.release = nil
	}
	if a.index < 0 {
		return
	}
	list := a.conn.replica.waiting
	last := list[len(list)-1]
	list[a.index], last.index = last, a.index
	a.conn.replica.waiting = list[:len(list)-1]
	a.index = -1
}

// refuse responds with the error of a limit, as the vault does.
func (s *Simulation) refuse(a *agent, err error) {
	if refused, ok := errors.AsType[*api.Error](err); ok {
		s.current().Refused++
		s.respond(a, s.now, refused.Kind.Status, time.Duration(limit.WholeSeconds(refused.RetryAfter))*time.Second)
	}
}

// respond sends a response.
func (s *Simulation) respond(a *agent, at time.Duration, status int, asked time.Duration) {
	a.leave()
	a.status, a.asked = status, asked
	if at > a.limit() {
		s.schedule(a.limit(), a, giveUp)
		return
	}
	s.schedule(at, a, answer)
}
