package proxy

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

type noRecorder struct{}

func (noRecorder) Record(api.TrafficEvent) {}

// A connection that isn't decrypted stays open while bytes pass in one direction, however slowly, and ends if none do.
func TestSilentTunnel(t *testing.T) {
	const limit = time.Hour
	for _, tt := range []struct {
		name        string
		fromServer  bool // the bytes
		serverFirst bool // the client has sent nothing
	}{
		{"the client sends", false, false},
		{"the server sends", true, false},
		{"only the server ever sends", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set, err := NewSet(api.Snapshot{Policy: &api.NetworkPolicy{Mode: api.ModeEnforce, DefaultEffect: api.EffectAllow}})
				if err != nil {
					t.Fatal(err)
				}
				s := New(Config{Set: func() *Set { return set }, Recorder: noRecorder{}, Limits: Limits{Tunnel: limit}})
				client, toClient := net.Pipe()
				server, toServer := net.Pipe()
				tunnel := &tunnel{Conn: toClient, upstream: toServer, to: destination{"example.com", 22}}
				if !tt.serverFirst {
					tunnel.ahead = []byte("hello")
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					s.splice(t.Context(), tunnel, tt.serverFirst)
				}()
				from := client
				if tt.fromServer {
					from = server
				}
				<-time.After(time.Minute) // so that the limits of the directions don't end at the same time
				for _, c := range []net.Conn{client, server} {
					go func() { _, _ = io.Copy(io.Discard, c) }()
				}
				for begun := time.Now(); time.Since(begun) < 5*limit; <-time.After(limit / 6) {
					if _, err := from.Write([]byte("x")); err != nil {
						t.Fatalf("after %s: %v", time.Since(begun), err)
					}
				}
				silent := time.Now()
				<-ended
				if took := time.Since(silent); took < limit/2 || took > 2*limit {
					t.Errorf("ended after %s of silence", took)
				}
				_, _ = client.Close(), server.Close()
			})
		})
	}
}

// A connection that is opened while the set changes to one that forbids it ends too.
func TestForbiddenWhileOpening(t *testing.T) {
	s := New(Config{Set: func() *Set { return NoSet("none") }})
	ended := 0
	remove := s.longLived.add(s, longLived{func(set *Set) bool { return set.absent() != nil }, func() { ended++ }})
	if ended != 1 {
		t.Error("the connection stays")
	}
	remove()
	if s.Changed(); ended != 1 || len(s.longLived.open) != 0 {
		t.Errorf("ended %d times, %d connections are open", ended, len(s.longLived.open))
	}
}
