package limit

import (
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// connections is a listener with in-memory connections from given addresses.
type connections struct {
	net.Listener
	from chan net.Conn
}

func (c connections) Accept() (net.Conn, error) { return <-c.from, nil }

// addressed is a connection from an address.
type addressed struct {
	net.Conn
	address string
}

func (a addressed) RemoteAddr() net.Addr { return named(a.address) }

type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }

// accepted is a Listener under test.
type accepted struct {
	*Listener
	t    *testing.T
	from chan net.Conn

	mu     sync.Mutex // guards closed
	closed []ID
}

func newAccepted(t *testing.T, v *Values) *accepted {
	a := &accepted{t: t, from: make(chan net.Conn, 1)}
	a.Listener = Listen(connections{from: a.from}, v, func(id ID) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.closed = append(a.closed, id)
	})
	return a
}

func (a *accepted) open(address string) *Conn {
	a.t.Helper()
	ours, theirs := net.Pipe()
	a.t.Cleanup(func() { _ = ours.Close() })
	a.from <- addressed{theirs, address + ":1"}
	c, err := a.Accept()
	if err != nil {
		a.t.Fatal(err)
	}
	return c.(*Conn)
}

// isOpen reports whether nobody has closed the connection.
func isOpen(c *Conn) bool {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	return c.place != nil
}

// A new connection is always accepted. It takes the place of the oldest one without a key: of the same address if that has
// as many as it may, else of any.
func TestNewConnectionsReplaceSilentOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccepted(t, &Values{Connections: 16}) // 4 without a key, 2 of them from one address
		first, second := a.open("192.0.2.1"), a.open("192.0.2.1")
		first.Serve() // so the second one goes first
		third := a.open("192.0.2.1")
		if !isOpen(first) || isOpen(second) || !isOpen(third) {
			t.Error("the oldest connection of the address without a request wasn't closed")
		}
		x, y := a.open("192.0.2.2"), a.open("192.0.2.3")
		a.open("192.0.2.4")
		if isOpen(third) || !isOpen(first) || !isOpen(x) || !isOpen(y) {
			t.Error("the oldest connection without a request wasn't closed")
		}
		if keyed, keyless := a.Counts(); keyed != 0 || keyless != 4 {
			t.Errorf("%d and %d connections", keyed, keyless)
		}
		if len(a.closed) != 2 || a.closed[0] != AddressConnections || a.closed[1] != KeylessConnections {
			t.Errorf("closed because of %v", a.closed)
		}
	})
}

// A connection without a key is closed after a few seconds without a request.
func TestSilentConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccepted(t, &Values{})
		silent, keyed, busy := a.open("192.0.2.1"), a.open("192.0.2.1"), a.open("192.0.2.1")
		if err := keyed.Present("acme"); err != nil {
			t.Fatal(err)
		}
		served := busy.Serve()
		<-time.After(keylessTime + time.Second)
		if isOpen(silent) || !isOpen(keyed) || !isOpen(busy) {
			t.Error("not the silent connection was closed")
		}
		served()
		<-time.After(keylessTime - time.Second)
		if !isOpen(busy) {
			t.Error("closed too early after a request")
		}
		<-time.After(2 * time.Second)
		if isOpen(busy) {
			t.Error("still open after a request without a key")
		}
		_ = keyed.Close()
		_ = keyed.Close()
		if keyed, keyless := a.Counts(); keyed+keyless != 0 || len(a.tenants)+len(a.addresses) != 0 {
			t.Errorf("closed connections are counted: %d, %d", keyed, keyless)
		}
	})
}

// presented returns connections that have presented the keys of tenants.
func (a *accepted) presented(tenants ...string) (conns []*Conn) {
	a.t.Helper()
	for _, tenant := range tenants {
		c := a.open("192.0.2.1")
		for range 2 { // the next request on a connection needs no other place
			if err := c.Present(tenant); err != nil {
				a.t.Fatal(err)
			}
		}
		conns = append(conns, c)
	}
	return conns
}

// counted returns how many connections of each tenant are open.
func (a *accepted) counted() map[string]int {
	n := map[string]int{}
	for tenant := range a.tenants {
		n[tenant] = a.count(tenant)
	}
	return n
}

// A tenant has only its share of the connections, and all tenants leave places for connections that haven't presented a
// key yet.
func TestConnectionsOfTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccepted(t, &Values{Connections: 8}) // 3 of a tenant, 6 with a key
		conns := a.presented("a", "a", "a", "b", "b")
		wantLimit(t, a.open("192.0.2.1").Present("a"), api.ErrRateLimited, "tenant_connections")
		_ = conns[0].Close()
		a.presented("c")
		// A proxy may use a connection for another tenant.
		if err := conns[3].Present("a"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(a.counted(), map[string]int{"a": 3, "b": 1, "c": 1}); diff != "" || a.keyed != 5 {
			t.Errorf("%d in all, counted (-got +want)\n%s", a.keyed, diff)
		}
		if slices.Contains(a.closed, Connections) {
			t.Errorf("closed because of %v", a.closed)
		}
	})
}

// Tenants that hold all places of connections with a key give some to each further tenant, until it has as many as they.
func TestAttack_ConnectionsOfTenantsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccepted(t, &Values{Connections: 16}) // 6 of a tenant, 12 with a key
		hostile := a.presented("a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b", "b")
		hostile[0].Serve()
		further := a.presented("c", "c", "c", "c")
		wantLimit(t, a.open("192.0.2.1").Present("c"), api.ErrRateLimited, "connections")
		wantLimit(t, a.open("192.0.2.1").Present("a"), api.ErrRateLimited, "connections")
		a.presented("d")
		counted := a.counted()
		if counted["d"] != 1 || a.keyed != 12 {
			t.Errorf("counted %v, %d in all", counted, a.keyed)
		}
		for tenant, n := range counted {
			if n > 4 {
				t.Errorf("%s has %d connections", tenant, n)
			}
		}
		if !isOpen(hostile[0]) || isOpen(hostile[1]) {
			t.Error("not the oldest connection without a request was closed")
		}
		open := 0
		for _, c := range further {
			if isOpen(c) {
				open++
			}
		}
		a.closed = slices.DeleteFunc(a.closed, func(id ID) bool { return id != Connections })
		if open < 3 || len(a.closed) != 5 {
			t.Errorf("%d of the further tenant's connections are open; closed because of %v", open, a.closed)
		}
	})
}
