package limit

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// keylessTime is how long a connection may wait for a request with a valid key.
const keylessTime = 5 * time.Second

// Listener limits connections. It accepts every one: part of the places is for connections that haven't presented a
// valid key yet, and when they are full, the oldest of them is closed. So those who hold connections without a key don't keep
// others out. When the places of connections with a key are full, the tenant with the most of them gives one to a tenant with
// fewer. So however many tenants hold as many as they can, each further one gets as many as they have.
type Listener struct {
	net.Listener
	values  *Values
	refused func(ID) // called for each connection that is closed because of a limit

	mu        sync.Mutex // guards the fields below, and those of connections
	keyless   *list.List // of *Conn, oldest first
	addresses map[string]int
	keyed     int                   // connections that have presented a key
	tenants   map[string]*list.List // of these, by tenant, oldest first; none is empty
}

// Listen limits the connections of l.
func Listen(l net.Listener, v *Values, refused func(ID)) *Listener {
	return &Listener{Listener: l, values: v, refused: refused, keyless: list.New(), addresses: map[string]int{}, tenants: map[string]*list.List{}}
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	listener *Listener
	address  string
	timer    *time.Timer // closes it unless it presents a key

	// Guarded by listener.mu.
	place   *list.Element // in keyless or, with a tenant, in the tenant's list; nil: it is closed
	tenant  string        // of the key that it has presented; "": none
	serving bool          // a request
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: inner, listener: l, address: Origin(inner.RemoteAddr().String())}
	l.mu.Lock()
	full, id := "", AddressConnections
	switch {
	case float64(l.addresses[c.address]) >= l.values.Of(AddressConnections):
		full = c.address
	case float64(l.keyless.Len()) >= l.values.Of(KeylessConnections):
		id = KeylessConnections
	default:
		id = -1
	}
	var closing *Conn
	if id >= 0 {
		closing = oldest(l.keyless, full)
		closing.leave()
	}
	c.place = l.keyless.PushBack(c)
	l.addresses[c.address]++
	c.timer = time.AfterFunc(keylessTime, c.expire)
	l.mu.Unlock()
	if closing != nil {
		l.refused(id)
		_ = closing.Close()
	}
	return c, nil
}

// oldest returns the oldest connection of a list, of an address unless it is "", preferably one without a request.
func oldest(of *list.List, address string) (oldest *Conn) {
	for e := of.Front(); e != nil; e = e.Next() {
		c := e.Value.(*Conn)
		if address != "" && c.address != address {
			continue
		}
		if !c.serving {
			return c
		}
		if oldest == nil {
			oldest = c
		}
	}
	return oldest
}

// Counts returns how many connections have presented a key, and how many haven't.
func (l *Listener) Counts() (keyed, keyless int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keyed, l.keyless.Len()
}

// leave gives up the connection's place. The caller holds mu.
func (c *Conn) leave() {
	l := c.listener
	switch {
	case c.place == nil:
	case c.tenant == "":
		l.keyless.Remove(c.place)
		if l.addresses[c.address]--; l.addresses[c.address] == 0 {
			delete(l.addresses, c.address)
		}
	default:
		l.keyed--
		of := l.tenants[c.tenant]
		if of.Remove(c.place); of.Len() == 0 {
			delete(l.tenants, c.tenant)
		}
	}
	c.place, c.tenant = nil, ""
}

// expire closes a connection that has presented no key.
func (c *Conn) expire() {
	c.listener.mu.Lock()
	expired := c.place != nil && c.tenant == "" && !c.serving
	c.listener.mu.Unlock()
	if expired {
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	c.leave()
	c.listener.mu.Unlock()
	c.timer.Stop()
	return c.Conn.Close()
}

// CloseWrite is used by net/http, so that a client reads the answer to a request that it is still sending.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Serve notes that a request is served until the caller calls done.
func (c *Conn) Serve() (done func()) {
	if c == nil {
		return func() {}
	}
	c.set(true)
	return func() { c.set(false) }
}

func (c *Conn) set(serving bool) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.serving = serving
	if !serving && c.place != nil && c.tenant == "" {
		c.timer.Reset(keylessTime)
	}
}

// Present gives the connection a place of a tenant, whose key it has presented. If there is none, it closes a connection of the
// tenant that has the most. Errors: ErrRateLimited if no other tenant has more.
func (c *Conn) Present(tenant string) error {
	if c == nil {
		return nil
	}
	closing, err := c.present(tenant)
	if closing != nil {
		c.listener.refused(Connections)
		_ = closing.Close()
	}
	return err
}

func (c *Conn) present(tenant string) (closing *Conn, err error) {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place == nil || c.tenant == tenant {
		return nil, nil
	}
	have := l.count(tenant)
	if float64(have) >= l.values.Of(TenantConnections) {
		return nil, l.values.refuse(api.ErrRateLimited, TenantConnections, time.Second)
	}
	if c.tenant == "" && float64(l.keyed) >= max(1, l.values.Of(Connections)-l.values.Of(KeylessConnections)) {
		most := l.most()
		if l.count(most) <= have+1 {
			return nil, l.values.refuse(api.ErrRateLimited, Connections, time.Second)
		}
		closing = oldest(l.tenants[most], "")
		closing.leave()
	}
	c.leave()
	c.timer.Stop()
	if l.tenants[tenant] == nil {
		l.tenants[tenant] = list.New()
	}
	c.tenant, c.place = tenant, l.tenants[tenant].PushBack(c)
	l.keyed++
	return closing, nil
}

// count returns how many connections have presented a tenant's key. The caller holds mu.
func (l *Listener) count(tenant string) int {
	if of := l.tenants[tenant]; of != nil {
		return of.Len()
	}
	return 0
}

// most returns the tenant with the most connections. The caller holds mu.
func (l *Listener) most() (most string) {
	for tenant := range l.tenants {
		if l.count(tenant) > l.count(most) {
			most = tenant
		}
	}
	return most
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// WithConn is the ConnContext of an http.Server on a Listener, with or without TLS and other connections between them.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// ConnOf returns the connection of a request; nil if it has none of a Listener.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// Origin identifies the sender of a request for limits: an IPv4 address, or the /64 of an IPv6 address, which
// usually belongs to one host.
func Origin(remoteAddr string) string {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return "unknown"
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}
