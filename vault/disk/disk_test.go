package disk

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"
)

func TestOf(t *testing.T) {
	s, err := Of(t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Of("/no/such/folder"); err == nil {
		t.Error("a missing folder has room")
	}
}

func TestLow(t *testing.T) {
	for _, tt := range []struct {
		name string
		Space
		low bool
	}{
		{"small", Space{11e6, 100e6}, false}, {"small, nearly full", Space{9e6, 100e6}, true},
		{"large", Space{6e9, 1e12}, false}, {"large, nearly full", Space{4e9, 1e12}, true}, {"full", Space{0, 1e9}, true},
	} {
		if got := tt.Low(); got != tt.low {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Each change is logged once.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		free := []uint64{50, 50, 5, 5, 5, 50}
		go watch(ctx, zerolog.New(&out), func() (Space, error) {
			s := Space{free[0], 100}
			if free = free[1:]; len(free) == 0 {
				cancel()
			}
			return s, nil
		})
		<-ctx.Done()
		synctest.Wait()
		if text := out.String(); strings.Count(text, "\n") != 2 || strings.Index(text, "nearly full") > strings.Index(text, "room again") {
			t.Errorf("logged %s", text)
		}
	})
}
