package fetch

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/Miosa-osa/miosa-env/internal/goroutine"
	"github.com/Miosa-osa/miosa-env/internal/pace"
	"github.com/Miosa-osa/miosa-env/internal/silence"
)

// connectTimeout bounds name lookup and connecting together, and then the TLS handshake.
const connectTimeout = pace.ConnectTime

// metadata is the address of AWS's instance metadata over IPv6; the others are link-local.
var metadata = netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54})

// nat64 is the prefix of IPv6 addresses that a gateway translates to the IPv4 address in their last four bytes.
var nat64 = netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96)

// dialer connects only to addresses that a key may be sent to. It checks the address after name lookup, just before
// connecting, so a name server cannot bypass the check by changing its answer.
func dialer(loopbackOnly bool) *net.Dialer {
	return &net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: silence.KeepAlive, // notices a half-open connection during a waiting reveal
		Control: func(_, address string, conn syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return &Problem{Reason: reasonBadAddress, Message: "the vault's name leads to something that is no network address"}
			}
			if err := allowed(to.Addr(), loopbackOnly); err != nil {
				return err
			}
			silence.Set(conn)
			return nil
		},
	}
}

// allowed returns an error for link-local and metadata addresses, and with loopbackOnly for all but loopback. Instance
// metadata services hand out credentials to any caller, and might log the key.
func allowed(ip netip.Addr, loopbackOnly bool) error {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case ip.IsLinkLocalUnicast() || ip == metadata:
		return &Problem{Reason: reasonBadAddress,
			Message: "the vault's address " + ip.String() + " is link-local or a metadata service: refused",
			Fix:     "check MIOSA_BASE_URL and what its host resolves to"}
	case loopbackOnly && !ip.IsLoopback():
		return &Problem{Reason: reasonBadAddress,
			Message: "the vault's address " + ip.String() + " isn't loopback: plain http is refused",
			Fix:     "use https in MIOSA_BASE_URL"}
	}
	return nil
}

// earlyConn is a connection that was started before there was a request for it.
type earlyConn struct {
	done chan struct{} // closed when the fields below are final
	conn net.Conn
	err  error
}

// Connect starts to connect to the vault and returns at once, so that the first call finds a connection. If it fails, that
// call connects again. Call it once, before any other method. It does nothing if the client uses a proxy.
func (c *Client) Connect() {
	if c.direct == "" {
		return
	}
	early := &earlyConn{done: make(chan struct{})}
	c.early.Store(early)
	goroutine.Go(func() {
		defer close(early.done)
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		early.conn, early.err = c.dial(ctx, "tcp", c.direct)
	})
}

// dialContext is the transport's DialContext. It returns the connection that Connect started, once, or makes a new one.
func (c *Client) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if early := c.early.Swap(nil); early != nil {
		select {
		case <-early.done:
			if early.err == nil {
				return early.conn, nil
			}
		case <-ctx.Done():
			go early.drop()
			return nil, ctx.Err()
		}
	}
	return c.dial(ctx, network, addr)
}

// drop closes a connection that no call will use.
func (e *earlyConn) drop() {
	<-e.done
	if e.conn != nil {
		_ = e.conn.Close()
	}
}
