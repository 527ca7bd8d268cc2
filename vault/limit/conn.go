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
// others out.
type Listener struct {
	net.Listener
	values  *Values
	refused func(ID) // called for each connection that is closed because of a limit

	mu        sync.Mutex // guards the fields below, and those of connections
	keyless   *list.List // of *Conn, oldest first
	addresses map[string]int
	keyed     int // connections that have presented a key
	tenants   map[string]int
}

// Listen limits the connections of l.
func Listen(l net.Listener, v *Values, refused func(ID)) *Listener {
	return &Listener{Listener: l, values: v, refused: refused, keyless: list.New(), addresses: map[string]int{}, tenants: map[string]int{}}
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	listener *Listener
	address  string
	timer    *time.Timer // closes it unless it presents a key

	// Guarded by listener.mu.
	place   *list.Element // in keyless; nil: it has presented a key, or is closed
	tenant  string        // of the key
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
		closing = l.oldest(full)
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

// oldest returns the oldest connection without a key, of an address unless it is "", preferably one without a request.
func (l *Listener) oldest(address string) (oldest *Conn) {
	for e := l.keyless.Front(); e != nil; e = e.Next() {
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
	case c.place != nil:
		l.keyless.Remove(c.place)
		c.place = nil
		if l.addresses[c.address]--; l.addresses[c.address] == 0 {
			delete(l.addresses, c.address)
		}
	case c.tenant != "":
		l.keyed--
		if l.tenants[c.tenant]--; l.tenants[c.tenant] == 0 {
			delete(l.tenants, c.tenant)
		}
		c.tenant = ""
	}
}

// expire closes a connection that has presented no key.
func (c *Conn) expire() {
	c.listener.mu.Lock()
	expired := c.place != nil && !c.serving
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
	if !serving && c.place != nil {
		c.timer.Reset(keylessTime)
	}
}

// Present gives the connection a place of a tenant, whose key it has presented. Errors: ErrRateLimited if there is none.
func (c *Conn) Present(tenant string) error {
	if c == nil {
		return nil
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.tenant == tenant {
		return nil
	}
	switch {
	case float64(l.tenants[tenant]) >= l.values.Of(TenantConnections):
		return l.values.refuse(api.ErrRateLimited, TenantConnections, time.Second)
	case c.tenant == "" && float64(l.keyed) >= max(1, l.values.Of(Connections)-l.values.Of(KeylessConnections)):
		return l.values.refuse(api.ErrRateLimited, Connections, time.Second)
	case c.tenant == "" && c.place == nil: // closed
		return nil
	}
	c.leave()
	c.timer.Stop()
	c.tenant = tenant
	l.keyed++
	l.tenants[tenant]++
	return nil
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
