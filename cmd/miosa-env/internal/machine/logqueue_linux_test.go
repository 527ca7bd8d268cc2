package machine

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestLogQueue: lines are written completely and in order; lines beyond the limit are dropped.
func TestLogQueue(t *testing.T) {
	var read bytes.Buffer
	r, w := io.Pipe()
	q := newLogQueue(w)
	var want strings.Builder
	line := make([]byte, 0, 20)
	for i := range 3 * logRoom {
		line = fmt.Appendf(line[:0], "line %d\n", i) // the logger reuses the line's memory
		if n, err := q.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	q.flush() // there is no reader
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&read, r)
	}()
	q.flush()
	_ = w.Close()
	<-done
	for i := range logRoom {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	// One more line fits if the first is already being written.
	if n := strings.Count(read.String(), "\n"); !strings.HasPrefix(read.String(), want.String()) || n > logRoom+1 {
		t.Errorf("%d lines, want the first %d and at most one more", n, logRoom)
	}
}
