package vault

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"testing"
)

// A tenant that already runs its share of large operations encodes no large part of an answer meanwhile, but small ones.
func TestEncodeTakesTurns(t *testing.T) {
	v := newConnected(t, 3600).vault
	c := &call{store: v.store, r: httptest.NewRequest("GET", "/", nil), actor: tenant(t, v.store, "busy")}
	const large = 1 << 20
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		end, err := c.store.Turn(t.Context(), c.actor, large)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	c.r = c.r.WithContext(canceled)
	if _, err := c.encode("text", large); !errors.Is(err, context.Canceled) {
		t.Errorf("large: got %v, want the end of the wait", err)
	}
	if text, err := c.encode("text", 1); err != nil || string(text) != "\"text\"\n" {
		t.Errorf("small: got %q, %v", text, err)
	}
}
