package outgoing

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// TestTake reaches each limit, and finds that another tenant, another host and a later time are not affected.
func TestTake(t *testing.T) {
	l := New(&limit.Values{limit.OAuthRequests: 16, limit.TenantOAuthRate: 1e6})
	take := func(tenant, host, want string) func() {
		t.Helper()
		release, err := l.Take(tenant, host)
		got := ""
		if err != nil {
			got = err.Limit
		}
		if got != want || (release == nil) != (want != "") {
			t.Fatalf("%s to %s: limit %q, want %q", tenant, host, got, want)
		}
		return release
	}
	first := take("a", "h", "")
	take("a", "h", "")
	take("a", "other", limit.TenantOAuthRequests.String())
	take("b", "h", "")
	take("b", "h", "")
	take("c", "h", limit.HostOAuthRequests.String())
	take("c", "other", "")
	if l.Running("a") != 2 || l.Running("nobody") != 0 || l.Total() != 5 {
		t.Errorf("%d of a, %d in all", l.Running("a"), l.Total())
	}
	for n := l.Total(); n < 16; n++ {
		take("t"+strconv.Itoa(n), "h"+strconv.Itoa(n), "")
	}
	take("new", "new", limit.OAuthRequests.String())
	ended := l.Ended()
	first()
	first() // counts once
	select {
	case <-ended:
	default:
		t.Error("Ended isn't closed")
	}
	take("new", "new", "")
	take("new", "new", limit.OAuthRequests.String())
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&limit.Values{limit.OAuthRequests: 16, limit.TenantOAuthRate: 10})
		count := func(tenant string) (n int) {
			for {
				release, err := l.Take(tenant, "h")
				if err != nil {
					if err.Limit != limit.TenantOAuthRate.String() {
						t.Errorf("limit %q", err.Limit)
					}
					return n
				}
				release()
				n++
			}
		}
		if n := count("a"); n != 10*burst {
			t.Errorf("%d requests at once", n)
		}
		time.Sleep(time.Second)
		if a, b := count("a"), count("b"); a != 10 || b != 10*burst {
			t.Errorf("%d requests a second later, %d of another tenant", a, b)
		}
	})
}

// A circuit opens after some failures, lets one request through after each pause, and closes with an answer. Circuits of
// other owners and hosts stay closed.
func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Circuits
		for n := range tripAfter {
			if _, _, open := c.Open("", "h"); open {
				t.Fatalf("open after %d failures", n)
			}
			if opened := c.Failed("", "h", "no_answer"); opened != (n == tripAfter-1) {
				t.Errorf("failure %d has opened it: %v", n, opened)
			}
		}
		wait, code, open := c.Open("", "h")
		if !open || code != "no_answer" || wait < firstPause*3/4 || wait > firstPause {
			t.Fatalf("open: %v with %q for %s", open, code, wait)
		}
		for _, other := range [][2]string{{"tenant", "h"}, {"", "other"}} {
			if _, _, open := c.Open(other[0], other[1]); open {
				t.Errorf("the circuit of %v is open", other)
			}
		}
		time.Sleep(wait)
		if _, _, open := c.Open("", "h"); open {
			t.Fatal("no probe is let through")
		}
		if _, _, open := c.Open("", "h"); !open {
			t.Error("two probes are let through")
		}
		if c.Failed("", "h", "unreachable") {
			t.Error("opened again")
		}
		if next, code, open := c.Open("", "h"); !open || next <= firstPause || code != "unreachable" {
			t.Errorf("after the probe failed: %v with %q for %s", open, code, next)
		}
		c.Answered("", "h")
		if _, _, open := c.Open("", "h"); open || len(c.owners) != 0 {
			t.Error("open after an answer")
		}
	})
}

// The number of circuits of one owner is limited, and an owner with many keeps those of others.
func TestManyCircuits(t *testing.T) {
	var c Circuits
	for range tripAfter {
		c.Failed("", "h", "no_answer")
	}
	for n := range 3 * maxCircuits {
		c.Failed("tenant", strconv.Itoa(n), "no_answer")
	}
	if n := len(c.owners["tenant"]); n > maxCircuits {
		t.Errorf("%d circuits", n)
	}
	if _, _, open := c.Open("", "h"); !open {
		t.Error("another owner's circuit is closed")
	}
}
