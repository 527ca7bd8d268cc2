package logger_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/logger"
)

// room is how many lines may wait.
const room = 1024

// TestQueue checks that lines are written completely and in order, that those beyond the limit are dropped, and that the log
// says how many.
func TestQueue(t *testing.T) {
	var read bytes.Buffer
	r, w := io.Pipe()
	var tap logger.Tap
	tap.Set(w, "test", "info", "json")
	q := logger.NewQueue(&tap)
	line := make([]byte, 0, 20)
	for i := range 3 * room {
		line = fmt.Appendf(line[:0], "line %d\n", i) // a logger reuses the line's memory
		if n, err := q.WriteLevel(zerolog.InfoLevel, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if _, err := q.WriteLevel(zerolog.DebugLevel, []byte("not logged\n")); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // the first line is being written while all others wait
			if _, err := io.CopyN(&read, r, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	// flush waits until all is written, also on a busy machine: one Flush has little patience.
	flush := func() {
		for range 20 {
			q.Flush()
		}
	}
	q.Flush() // there is no reader
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&read, r)
	}()
	flush()
	log := q.Logger()
	log.Info().Msg("later")
	flush()
	_ = w.Close()
	<-done
	var want strings.Builder
	for i := range 1 + room {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	rest, ok := strings.CutPrefix(read.String(), want.String())
	dropped, later, _ := strings.Cut(rest, "\n")
	if !ok || !strings.Contains(dropped, fmt.Sprintf(`"lines":%d,`, 2*room-1)) || !strings.Contains(later, "later") || strings.Count(later, "\n") != 1 {
		t.Errorf("the log:\n%s", read.String())
	}
}
