// Package dial connects a broker to servers. A name is resolved once per connection, and the address that is connected to is
// the one that was checked, so a name that resolves to another address each time is no way around the checks.
package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/address"
	"github.com/Miosa-osa/miosa-env/internal/silence"
)

// connectTimeout limits how long resolving a name and connecting take.
const connectTimeout = 15 * time.Second

// ErrNotPublic is the error of connecting to an address that isn't public: one of this machine or of a private network, unless a rule
// names the host; or a link-local one, such as that of a cloud's metadata service, unless a rule names the address itself.
var ErrNotPublic = errors.New("the address is not a public one, and no rule names the host")

// Dialer connects to servers. The zero Dialer is ready for use.
type Dialer struct {
	Resolver *net.Resolver // nil: the system's
}

// Dial connects to a port of host, which is a name or an IP address without brackets and zone. If named is true, a rule names
// exactly this host: a name may then have an address of a private network, and an address may be any. Errors: ErrNotPublic;
// those of net.Dialer.
func (d Dialer) Dial(ctx context.Context, host string, port int, named bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	own, err := address.Own()
	if err != nil {
		return nil, err
	}
	_, err = netip.ParseAddr(host)
	literal := err == nil
	dialer := net.Dialer{Resolver: d.Resolver, KeepAliveConfig: silence.KeepAlive, Control: func(_, resolved string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(resolved)
		switch ip := to.Addr(); {
		case err != nil:
			return ErrNotPublic
		case named && literal, named && !address.Link(ip), address.Public(ip) && !own[address.Canonical(ip)]:
			return nil
		}
		return ErrNotPublic
	}}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}
