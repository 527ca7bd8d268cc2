package oauth

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// names is a DNS server. Each name has the addresses of its successive lookups; the last one stays. Other names aren't
// known.
type names struct {
	mu    sync.Mutex // guards the fields below
	of    map[string][]netip.Addr
	asked map[string]int
}

// resolver returns a resolver that asks only this server.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		query := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(n.answer(query[:size]), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

// answer answers a query of one question (RFC 1035, 4.1).
func (n *names) answer(query []byte) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	var labels []string
	at := header
	for ; query[at] != 0; at += int(query[at]) + 1 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
	}
	question := query[header : at+5]
	wanted := binary.BigEndian.Uint16(query[at+1:])
	name := strings.ToLower(strings.Join(labels, "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.of[name]
	reply := append([]byte{}, query[:2]...)
	if len(list) == 0 {
		reply = append(reply, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0) // no such name
		return append(reply, question...)
	}
	ip := list[min(n.asked[name]/2, len(list)-1)] // a lookup asks for both types
	n.asked[name]++
	has := wanted == typeA && ip.Is4() || wanted == typeAAAA && ip.Is6()
	count := byte(0)
	if has {
		count = 1
	}
	reply = append(reply, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0)
	reply = append(reply, question...)
	if has {
		reply = append(reply, 0xc0, header, 0, byte(wanted), 0, 1, 0, 0, 0, 0, 0, byte(len(ip.AsSlice())))
		reply = append(reply, ip.AsSlice()...)
	}
	return reply
}

// Whatever a tenant's token URL names, a host of a private network, this machine, the vault itself or nothing, there is no
// connection, and the tenant gets the same error after the same time.
func TestAttack_PrivateHosts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var reached atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	server := &names{of: map[string][]netip.Addr{}, asked: map[string]int{}}
	server.of["vault.example"] = []netip.Addr{netip.MustParseAddr("93.184.215.14")}
	server.of["alias.example"] = server.of["vault.example"]
	// Public when it is looked up first, as by a check before the connection, and then another address.
	server.of["rebound.example"] = []netip.Addr{netip.MustParseAddr("93.184.215.99"), netip.MustParseAddr("127.0.0.1")}
	hosts := []string{"vault.example", "VAULT.example.", "alias.example", "rebound.example", "unknown.example", "127.0.0.1", "[::1]", "[::127.0.0.1]", "localhost", "127.1", "0x7f000001", "2130706433"}
	for i, text := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
		"64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::1", "2001:0:7f00:1::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
		"fd00:ec2::254", "fe80::1", "fec0::1", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "192.0.2.1", "2001:db8::1",
	} {
		name := "h" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".example"
		server.of[name] = []netip.Addr{netip.MustParseAddr(text)}
		hosts = append(hosts, name)
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range local {
		ip := netip.MustParsePrefix(a.String()).Addr()
		hosts = append(hosts, net.JoinHostPort(ip.WithZone("").String(), port))
	}
	ps := &Providers{PublicURL: "https://vault.example:" + port, resolver: server.resolver(t)}
	if found, err := ps.resolver.LookupNetIP(t.Context(), "ip", "rebound.example"); err != nil || !public(found[0]) {
		t.Fatalf("the first lookup: %v, %v", found, err)
	}

	var all sync.WaitGroup
	for _, host := range hosts {
		if strings.Count(host, ":") == 0 || strings.HasSuffix(host, "]") {
			host += ":" + port
		}
		all.Go(func() {
			began := time.Now()
			metadata := encode(map[string]machine{"oauth": {TokenURL: "https://" + host + "/token", ClientID: "id"}})
			_, err := ps.Mint(t.Context(), metadata, api.NewValue([]byte("s")))
			took := time.Since(began)
			failed, ok := errors.AsType[*Error](err)
			if !ok || failed.Code != codeUnreachable || failed.Outcome != Unsent || failed.RetryAfter != 0 {
				t.Errorf("%s: got %v", host, err)
			}
			if took < connectTimeout {
				t.Errorf("%s: refused after %s, want %s as for every host", host, took, connectTimeout)
			}
		})
	}
	all.Wait()
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
