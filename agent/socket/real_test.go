package socket_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// With a real vault, engine and socket, each rotation arrives, a refresh is answered, and the revocation of the key ends
// it.
func TestSocketOfARealAgent(t *testing.T) {
	v := vaulttest.Start(t)
	secret := v.Put(t, "token", "canary 0", sandbox, "TOKEN")
	v.Put(t, "other", strings.Repeat("canary\n", 10000), sandbox, "OTHER")
	key, keyID := v.MintResourceKey(t, sandbox)
	client, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: key})
	must(t, err)
	defer client.Close()
	daemon, err := agent.New(agent.Config{Resource: sandbox, Source: client.Source(sandbox), Version: "test", Log: zerolog.Nop()})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx) }()
	defer func() {
		cancel()
		must(t, <-ended)
	}()
	at := agenttest.Serve(t, daemon, peer.List{})
	c := at.Dial(t)
	src := c.Source(sandbox, "")
	values := func(s api.Snapshot) string {
		out := []string{}
		for _, b := range s.Bound {
			text := b.Value.Reveal()
			out = append(out, fmt.Sprintf("%s=%.10s(%d)", b.ExposeAsEnv, text, len(text)))
		}
		return strings.Join(out, " ")
	}
	set := api.Snapshot{}
	poll.Until(t, 30*time.Second, "the first set", func() bool { set, err = src.Next(t.Context(), ""); return err == nil })
	direct, err := client.Reveal(t.Context(), sandbox, "", 0)
	must(t, err)
	if diff := cmp.Diff(opened(set), opened(direct)); diff != "" {
		t.Fatalf("through the agent (-got +want):\n%s", diff)
	}
	for i := 1; i < 8; i++ {
		v.Rotate(t, secret, fmt.Sprintf("canary %d", i))
		next, err := src.Next(t.Context(), set.Etag)
		must(t, err)
		if got, want := values(next), fmt.Sprintf("OTHER=canary\ncan(70000) TOKEN=canary %d(8)", i); got != want {
			t.Fatalf("after rotation %d: %q, want %q", i, got, want)
		}
		set = next
	}
	status, err := c.Refresh(t.Context())
	if err != nil || status.State != agent.Fresh || status.Bindings != 2 || status.Etag != set.Etag {
		t.Errorf("refresh: %+v, %v", status, err)
	}
	v.Revoke(t, keyID)
	if _, err := src.Next(t.Context(), set.Etag); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("after the revocation: %v, want %v", err, api.ErrUnauthorized)
	}
	if _, err := src.Next(t.Context(), ""); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("asked again: %v, want %v", err, api.ErrUnauthorized)
	}
	if status, err := c.Status(t.Context()); err != nil || status.State != agent.Refused || status.Bindings != 0 {
		t.Errorf("status: %+v, %v", status, err)
	}
	if _, err := c.Refresh(t.Context()); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("refresh: %v, want %v", err, api.ErrUnauthorized)
	}
	log := at.Log.String()
	if strings.Contains(log, "canary") {
		t.Error("a value is in the log")
	}
	if got := strings.Count(log, `"names":["OTHER","TOKEN"]`); got != 8 {
		t.Errorf("%d reveals with their names in the log, want 8", got)
	}
}
