package socket_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A thousand clients at once, more than the limits allow, are all served.
func TestSocketThousandClients(t *testing.T) {
	set := many(100)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	want := opened(set)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			c, err := socket.Dial(at.Path())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			got, err := c.Source(sandbox, "").Next(t.Context(), "")
			if err != nil {
				t.Error(err)
			} else if !slices.Equal(opened(got), want) {
				t.Error("another set")
			}
		})
	}
	all.Wait()
	poll.Until(t, 30*time.Second, "no connection is counted", func() bool { active, waiting := at.Counts(); return active == 0 && waiting == 0 })
}

// Idle clients keep their connections for a few seconds only, and the number of waiting clients is limited.
func TestSocketLimits(t *testing.T) {
	t.Parallel()
	set := snapshot(1)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	wait := fmt.Sprintf(`{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1","etag":%q,"wait_seconds":60}`+"\n", set.Etag)
	for range 64 {
		at.Send(t, wait)
	}
	poll.Until(t, 30*time.Second, "64 clients wait", func() bool { active, waiting := at.Counts(); return active == 0 && waiting == 64 })
	if got := readAll(t, at.Send(t, wait)); !strings.Contains(got, `"code":"RATE_LIMITED"`) || !strings.Contains(got, `"retry_after":5`) {
		t.Errorf("reply to one more client: %q", got)
	}
	if _, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil {
		t.Errorf("a client that does not wait: %v", err)
	}
	poll.Until(t, 30*time.Second, "its connection has ended", func() bool { active, _ := at.Counts(); return active == 0 })
	var silent []net.Conn
	for range 128 {
		silent = append(silent, at.Send(t, ""))
	}
	poll.Until(t, 30*time.Second, "128 connections are idle", func() bool { active, _ := at.Counts(); return active == 128 })
	if got := readAll(t, at.Send(t, "")); !strings.Contains(got, `"code":"RATE_LIMITED"`) {
		t.Errorf("reply to one more client: %q", got)
	}
	if _, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil { // once the first are dropped
		t.Errorf("after the idle clients: %v", err)
	}
	for _, c := range silent {
		if got := readAll(t, c); !strings.Contains(got, "within 5 seconds") {
			t.Fatalf("reply to an idle client: %q", got)
		}
	}
}

func TestSocketInvalidRequests(t *testing.T) {
	at := agenttest.Serve(t, newFakeEngine(many(1)), peer.List{})
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", "hello\n", `"code":"MALFORMED"`},
		{"an empty line", "\n", `"code":"MALFORMED"`},
		{"4096 bytes without a line feed", strings.Repeat(" ", 4096), `"code":"TOO_LARGE"`},
		{"100,000 bytes", strings.Repeat("x", 100000), `"code":"TOO_LARGE"`},
		{"4096 bytes", strings.Repeat(" ", 4096-len(`{"op":"status"}`)-1) + `{"op":"status"}` + "\n", `{"status":{"state":"fresh"`},
		{"4097 bytes", strings.Repeat(" ", 4096-len(`{"op":"status"}`)) + `{"op":"status"}` + "\n", `"code":"TOO_LARGE"`},
		{"POST", "POST /metrics HTTP/1.1\r\n\r\n", `"code":"MALFORMED"`},
		{"unknown page", "GET /reveal HTTP/1.1\r\n\r\n", "HTTP/1.0 404 Not Found\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := readAll(t, at.Send(t, tt.text)); !strings.Contains(got, tt.want) {
				t.Errorf("answer %q, want %q", got, tt.want)
			}
		})
	}
	if got, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil || len(got.Bound) != 1 {
		t.Errorf("after the malformed requests: %v", err)
	}
}

// A client that requests a large set and doesn't read is dropped. Meanwhile the values' memory isn't in use, so that a
// revocation can free it.
func TestSocketSlowReaders(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("canary "), api.MaxValueBytes/7)
	var mu sync.Mutex // guards the fields below
	uses, lent := 0, 0
	set := many(4)
	for i := range set.Bound {
		set.Bound[i].Value = api.NewLentValue(func(use func([]byte)) {
			mu.Lock()
			uses, lent = uses+1, lent+1
			mu.Unlock()
			use(big)
			mu.Lock()
			lent--
			mu.Unlock()
		})
	}
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	c := at.Send(t, `{"op":"reveal","resource_type":"sandbox","resource_id":"sb_1"}`+"\n")
	if _, err := bufio.NewReaderSize(c, 16).ReadByte(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 30*time.Second, "the values are sent, and aren't lent while the client doesn't read", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return uses >= 12 && lent == 0 // for the lengths, and for the first part
	})
	poll.Until(t, 30*time.Second, "the slow reader is dropped", func() bool {
		active, _ := at.Counts()
		return active == 0 && strings.Contains(at.Log.String(), `"outcome":"dropped"`)
	})
	if got, err := at.Dial(t).Source(sandbox, "").Next(t.Context(), ""); err != nil || got.Bound[3].Value.Len() != len(big) {
		t.Errorf("a client that reads: %v", err)
	}
}

// Values that are wiped while they are sent are never received as empty ones.
func TestSocketWipedDuringSend(t *testing.T) {
	served := newFakeEngine(api.Snapshot{})
	at := agenttest.Serve(t, served, peer.List{})
	src := at.Dial(t).Source(sandbox, "")
	given, refused, other := 0, 0, 0
	for _, next := range []agent.State{agent.Refused, agent.Fresh} {
		for wipedAt := 1; wipedAt < 12; wipedAt++ { // three uses for the lengths, three to send the values, and none after that
			set := snapshot(1, api.Bound{Label: api.Label{ExposeAsEnv: "B"}}, api.Bound{Label: api.Label{ExposeAsEnv: "C"}})
			uses := 0
			for i := range set.Bound {
				set.Bound[i].Value = api.NewLentValue(func(use func([]byte)) {
					uses++
					if uses == wipedAt { // as the agent does: first it stops serving the set
						served.become(snapshot(2), next)
					}
					if uses >= wipedAt {
						use(nil)
						return
					}
					use([]byte("canary-1"))
				})
			}
			served.become(set, agent.Fresh)
			got, err := src.Next(t.Context(), "")
			values := []string{}
			for _, b := range got.Bound {
				values = append(values, b.Value.Reveal())
			}
			switch text := strings.Join(values, " "); {
			case err == nil && text == "canary-1 canary-1 canary-1":
				given++
			case err == nil && text == "canary-2" && next == agent.Fresh:
				other++
			case errors.Is(err, api.ErrUnauthorized) && next == agent.Refused:
				refused++
			default:
				t.Errorf("wiped at use %d: %q, %v", wipedAt, text, err)
			}
		}
	}
	if given == 0 || refused == 0 || other == 0 {
		t.Errorf("the set was sent %d times, refused %d times, and another one sent %d times", given, refused, other)
	}
}

// Denials are logged once a second.
func TestSocketDenialLogLimit(t *testing.T) {
	set := snapshot(1)
	at := agenttest.Serve(t, newFakeEngine(set), peer.List{})
	for range 128 {
		at.Send(t, "")
	}
	poll.Until(t, 30*time.Second, "128 connections are idle", func() bool { active, _ := at.Counts(); return active == 128 })
	began := time.Now()
	for range 200 {
		readAll(t, at.Send(t, ""))
	}
	most := int(time.Since(began)/time.Second) + 2
	if got := strings.Count(at.Log.String(), "socket request refused"); got < 1 || got > most {
		t.Errorf("%d lines, want 1 to %d", got, most)
	}
}
