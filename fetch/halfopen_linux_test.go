package fetch_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/halfopen"
)

// A connection whose peer disappears silently is detected within 30 s, even during a longer wait. This takes real
// time, because the kernel does the keepalive.
func TestHalfOpenConnections(t *testing.T) {
	needs.Long(t, "half a minute of real time")
	for _, tt := range []struct {
		name   string
		before bool // the peer disappears before the request arrives, so that it is never acknowledged
	}{
		{"under a wait", false},
		{"under a request", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var failed atomic.Value
			gone := make(chan struct{})
			address, _ := serveRaw(t, func(_ int, c *net.TCPConn) {
				if !tt.before {
					readRequest(c)
				}
				if err := halfopen.DropReceived(c); err != nil {
					failed.Store(err)
				}
				<-gone
			})
			defer close(gone)
			c := client(t, "http://"+address)
			began := time.Now()
			_, err := c.Reveal(t.Context(), sandbox, "etag", 50*time.Second)
			took := time.Since(began)
			if err := failed.Load(); err != nil {
				needs.Granted(t, err.(error), "a filter on a socket")
			}
			if problem, ok := errors.AsType[*fetch.Problem](err); !ok || !api.Temporary(err) || took > 35*time.Second || took < 20*time.Second {
				t.Errorf("error %v (%+v) after %s, want it noticed within 30 s", err, problem, took)
			}
		})
	}
}
