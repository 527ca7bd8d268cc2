package poll_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			after   time.Duration
			want    bool
			atMost  time.Duration
			maxCall int
		}{
			{"at once", 0, true, 0, 1},
			{"soon", 10 * time.Millisecond, true, 11 * time.Millisecond, 12},
			{"late", 9 * time.Second, true, 9*time.Second + 50*time.Millisecond, 300},
			{"too late", 11 * time.Second, false, 10*time.Second + 50*time.Millisecond, 300},
		} {
			begun, calls := time.Now(), 0
			got := poll.Within(10*time.Second, func() bool {
				calls++
				return time.Since(begun) >= tt.after
			})
			if took := time.Since(begun); got != tt.want || took > tt.atMost || calls > tt.maxCall {
				t.Errorf("%s: %v after %s and %d calls", tt.name, got, took, calls)
			}
		}
	})
}
