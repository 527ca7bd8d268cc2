package vault_test

import (
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/vault"
)

// A token that expires in thousands of years doesn't make the scheduler run without a pause.
func TestAttack_DistantSchedule(t *testing.T) {
	distant := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	if wait := vault.UntilDue(distant, time.Minute); wait < time.Minute {
		t.Errorf("the scheduler waits for %s", wait)
	}
}
