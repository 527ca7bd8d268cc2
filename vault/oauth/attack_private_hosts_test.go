package oauth

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/address"
	"github.com/Miosa-osa/miosa-env/internal/test/dnstest"
)

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
	server := dnstest.New(t)
	server.Set("vault.example", "93.184.215.14")
	server.Set("alias.example", "93.184.215.14")
	// Public when it is looked up first, as by a check before the connection, and then another address.
	server.Set("rebound.example", "93.184.215.99", "127.0.0.1")
	hosts := []string{"vault.example", "VAULT.example.", "alias.example", "rebound.example", "unknown.example", "127.0.0.1", "[::1]", "[::127.0.0.1]", "localhost", "127.1", "0x7f000001", "2130706433"}
	for i, text := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
		"64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::1", "2001:0:7f00:1::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
		"fd00:ec2::254", "fe80::1", "fec0::1", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "192.0.2.1", "2001:db8::1",
	} {
		name := "h" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".example"
		server.Set(name, text)
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
	ps := &Providers{PublicURL: "https://vault.example:" + port, resolver: server.Resolver()}
	if found, err := ps.resolver.LookupNetIP(t.Context(), "ip", "rebound.example"); err != nil || !address.Public(found[0]) {
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
