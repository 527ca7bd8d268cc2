package limit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestBucketsAreOneEach(t *testing.T) {
	b := newBuckets(2, 3, 10)
	now := time.Unix(1e9, 0)
	take := func(name string, want time.Duration) {
		t.Helper()
		if got := b.take(name, 1, now); got != want {
			t.Errorf("%s waits %v, want %v", name, got, want)
		}
	}
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
	take("a", 500*time.Millisecond) // a refused request takes no token
	take("b", 0)
	now = now.Add(500 * time.Millisecond)
	take("a", 0)
	take("a", 500*time.Millisecond)
	now = now.Add(time.Hour)
	for range 3 {
		take("a", 0)
	}
	take("a", 500*time.Millisecond)
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(1, 1, 4)
	now := time.Unix(1e9, 0)
	b.take("kept", 1, now)
	for i := range 1000 {
		b.take(fmt.Sprint(i), 1, now)
		if b.take("kept", 1, now) == 0 {
			t.Fatal("a recently used name was dropped")
		}
	}
	if n := len(b.recent) + len(b.old); n > 4 {
		t.Errorf("has %d entries, want at most 4", n)
	}
	if b.take("0", 1, now) != 0 {
		t.Error("a dropped name didn't start anew")
	}
}

func TestPlaces(t *testing.T) {
	p := newPlaces(&Values{KeyWaits: 2}, KeyWaits)
	leave, _ := p.Acquire("a")
	if _, err := p.Acquire("a"); err != nil {
		t.Fatal("no second place")
	}
	_, err := p.Acquire("a")
	wantLimit(t, err, api.ErrRateLimited, "key_waits")
	other, err := p.Acquire("b")
	if err != nil {
		t.Error("no place for another")
	}
	leave()
	if leave, err = p.Acquire("a"); err != nil {
		t.Error("a place that was left isn't free")
	}
	leave()
	other()
	if len(p.taken) != 1 {
		t.Errorf("remembers %v", p.taken)
	}
}

// Names that take all places they get leave some for a further one.
func TestAttack_WaitsOfTenantsTogether(t *testing.T) {
	p := newShares(&Values{TenantWaits: 8, Waits: 16}, TenantWaits, Waits)
	for _, c := range []struct {
		name  string
		want  int
		limit string
	}{{"a", 8, "tenant_waits"}, {"b", 4, "waits"}, {"c", 2, "waits"}, {"further", 1, "waits"}} {
		for range c.want {
			if _, err := p.Acquire(c.name); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		_, err := p.Acquire(c.name)
		wantLimit(t, err, api.ErrRateLimited, c.limit)
	}
}

// wantLimit checks that err is a refusal by a limit, and that its message names the limit.
func wantLimit(t *testing.T, err error, kind *api.Kind, name string) {
	t.Helper()
	refused, ok := errors.AsType[*api.Error](err)
	if !ok || refused.Kind != kind || refused.Limit != name || !strings.Contains(refused.Message, "(limit "+name+": ") {
		t.Errorf("got %v, want a refusal by %s", err, name)
	}
}

func TestWholeSeconds(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration
		want int
	}{
		{"none", 0, 1},
		{"little", time.Millisecond, 1},
		{"one", time.Second, 1},
		{"more than one", time.Second + 1, 2},
		{"for ever", 1<<63 - 1, 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := WholeSeconds(c.wait); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct{ name, remote, want string }{
		{"IPv4", "192.0.2.1:1234", "192.0.2.1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1234", "192.0.2.1"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::/64"},
		{"IPv6 of the same network", "[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1", "fe80::/64"},
		{"a unix socket", "@", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Origin(c.remote); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
