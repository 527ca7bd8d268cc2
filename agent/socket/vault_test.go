package socket_test

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

const (
	vaultA = "https://a.example.com/api/v1"
	vaultB = "https://b.example.com/api/v1"
)

// A client that names a vault gets that vault's set, and one that names none gets any.
func TestSocketNamedVault(t *testing.T) {
	set := many(2)
	for _, tt := range []struct {
		name, serves, named string
		refused             bool
	}{
		{"none named", vaultA, "", false},
		{"the same", vaultA, vaultA, false},
		{"another", vaultA, vaultB, true},
		{"agent that does not report its vault", "", vaultB, true},
		{"none named, agent that does not report its vault", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served := newFakeEngine(set)
			served.status.Vault = tt.serves
			at := agenttest.Serve(t, served, peer.List{})
			got, err := at.Dial(t).Source(sandbox, tt.named).Next(t.Context(), "")
			if !tt.refused {
				if err != nil || len(got.Bound) != len(set.Bound) {
					t.Fatalf("%d values, %v", len(got.Bound), err)
				}
				return
			}
			other, ok := errors.AsType[*socket.OtherVault](err)
			if want := (socket.OtherVault{Socket: at.Path(), Serves: tt.serves, Named: tt.named}); !ok || *other != want {
				t.Errorf("error %v, want %v", err, &want)
			}
			if len(got.Bound) > 0 {
				t.Errorf("%d values", len(got.Bound))
			}
		})
	}
}

// A client that waits for a change doesn't get the set of another vault.
func TestSocketNamedVaultWhileWaiting(t *testing.T) {
	served := newFakeEngine(many(1))
	served.status.Vault = vaultA
	at := agenttest.Serve(t, served, peer.List{})
	src := at.Dial(t).Source(sandbox, vaultA)
	first, err := src.Next(t.Context(), "")
	must(t, err)
	ended := make(chan error, 1)
	go func() { _, err := src.Next(t.Context(), first.Etag); ended <- err }()
	poll.Until(t, 30*time.Second, "it waits", func() bool { _, waiting := at.Counts(); return waiting == 1 })
	served.become(many(2), agent.Fresh) // whose status names no vault
	if _, ok := errors.AsType[*socket.OtherVault](<-ended); !ok {
		t.Error("got the set of another vault")
	}
}

// An agent of a version that doesn't know the vault field refuses it.
func TestSocketOldAgent(t *testing.T) {
	path := answering(t, `{"error":"the request isn't one line of JSON as the agent knows it","code":"MALFORMED"}`+"\n")
	c, err := socket.Dial(path)
	must(t, err)
	defer c.Close()
	_, err = c.Source(sandbox, vaultA).Next(t.Context(), "")
	if other, ok := errors.AsType[*socket.OtherVault](err); !ok || other.Serves != "" || other.Named != vaultA {
		t.Errorf("with a vault: %v", err)
	}
	if _, err = c.Source(sandbox, "").Next(t.Context(), ""); !errors.Is(err, api.ErrMalformed) {
		t.Errorf("without one: %v", err)
	}
}

// answering returns the path of a socket that sends text to each client.
func answering(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(text))
			_ = c.Close()
		}
	}()
	return path
}
