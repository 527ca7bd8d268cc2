package vault

import (
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// An altered schedule that is due isn't tried again and again, and others of the same tenant and provider are.
func TestAttack_AlteredSchedule(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	altered := c.secret()
	tamper(t, c.vault.store, `UPDATE oauth_grants SET due_at = 1 WHERE secret_id = $1`, altered.ID)
	before := c.provider.requests()
	due, _, err := c.vault.store.DueRefreshes(t.Context(), []string{"acme"}, nil)
	if err != nil || len(due) != 1 {
		t.Fatalf("%d are due, %v", len(due), err)
	}
	c.vault.refresh.launch(t.Context(), due)
	poll.Until(t, 10*time.Second, "the altered schedule pauses", func() bool { return len(c.vault.refresh.altered.Paused(time.Now())) == 1 })
	due, _, err = c.vault.store.DueRefreshes(t.Context(), []string{"acme"}, []string{altered.ID})
	if err != nil || len(due) != 0 {
		t.Errorf("%d are due beside the altered one, %v", len(due), err)
	}
	if got := c.provider.requests() - before; got != 0 {
		t.Errorf("%d requests for the altered schedule", got)
	}
}
