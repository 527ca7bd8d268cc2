package dial_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/dial"
	"github.com/Miosa-osa/miosa-env/internal/test/dnstest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// counted is a listener on all addresses of this machine, and how many connections it got.
func counted(t *testing.T) (port int, reached *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	reached = new(atomic.Int32)
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
	return l.Addr().(*net.TCPAddr).Port, reached
}

func TestDial(t *testing.T) {
	t.Parallel()
	port, reached := counted(t)
	names := dnstest.New(t)
	names.Set("private.example.com", "127.0.0.1")
	names.Set("mapped.example.com", "::ffff:127.0.0.1")
	names.Set("metadata.example.com", "169.254.169.254")
	d := dial.Dialer{Resolver: names.Resolver()}
	hosts := []string{"private.example.com", "mapped.example.com", "metadata.example.com", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "168.63.129.16", "fe80::1"}
	local, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range local {
		hosts = append(hosts, netip.MustParsePrefix(a.String()).Addr().String())
	}
	for _, host := range hosts {
		if _, err := d.Dial(t.Context(), host, port, false); !errors.Is(err, dial.ErrNotPublic) {
			t.Errorf("%s: got %v, want ErrNotPublic", host, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
	// Those who answer for a name must not choose an address of the link.
	for name, ip := range map[string]string{"metadata.example.com": "169.254.169.254", "link.example.com": "fe80::1", "azure.example.com": "168.63.129.16"} {
		names.Set(name, ip)
		if _, err := d.Dial(t.Context(), name, port, true); !errors.Is(err, dial.ErrNotPublic) {
			t.Errorf("%s, named by a rule: got %v, want ErrNotPublic", name, err)
		}
	}
	c, err := d.Dial(t.Context(), "private.example.com", port, true)
	if err != nil {
		t.Fatalf("named by a rule: %v", err)
	}
	_ = c.Close()
	if c, err = d.Dial(t.Context(), "127.0.0.1", port, true); err != nil {
		t.Fatalf("an address that is named by a rule: %v", err)
	}
	_ = c.Close()
	poll.Until(t, 30*time.Second, "two connections", func() bool { return reached.Load() == 2 })
}

// A name that has a public address when it is looked up first, and one of this machine afterwards, is looked up once.
func TestAttack_Rebinding(t *testing.T) {
	t.Parallel()
	port, reached := counted(t)
	names := dnstest.New(t)
	names.Set("rebound.example.com", "240.0.0.1", "127.0.0.1")
	names.Set("both.example.com", "127.0.0.1", "127.0.0.1")
	d := dial.Dialer{Resolver: names.Resolver()}
	for name, lookups := range map[string]int{"rebound.example.com": 1, "both.example.com": 1} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if c, err := d.Dial(ctx, name, port, false); err == nil {
			_ = c.Close()
			t.Errorf("%s: connected", name)
		}
		cancel()
		if got := names.Lookups(name); got != lookups {
			t.Errorf("%s: %d lookups, want %d", name, got, lookups)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
