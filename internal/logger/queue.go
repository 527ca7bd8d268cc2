package logger

import (
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	queueRoom     = 1024                   // lines that may wait
	queuePatience = 500 * time.Millisecond // how long Flush waits
)

// Queue writes the lines of a logger to a tap in order, on a goroutine: a program with other work to do mustn't be held up by
// a reader of its log that doesn't read. A line is dropped where queueRoom others wait; the next line that isn't dropped is
// preceded by one that says how many were.
type Queue struct {
	tap     *Tap
	lines   chan queuedLine
	dropped atomic.Int64 // since the last line that wasn't
}

// queuedLine is a line, or a mark: written is closed when all before it was written.
type queuedLine struct {
	line    []byte
	dropped int64 // lines before this one
	written chan<- struct{}
}

// NewQueue writes to tap for as long as the process lives.
func NewQueue(tap *Tap) *Queue {
	q := &Queue{tap: tap, lines: make(chan queuedLine, queueRoom)}
	go func() {
		log := tap.Logger()
		for next := range q.lines {
			if next.dropped > 0 {
				log.Warn().Int64("lines", next.dropped).Msg("log lines dropped: their reader is too slow")
			}
			if next.written != nil {
				close(next.written)
				continue
			}
			_, _ = tap.Write(next.line)
		}
	}()
	return q
}

// Logger returns a logger that writes to the queue.
func (q *Queue) Logger() zerolog.Logger { return zerolog.New(q).With().Timestamp().Logger() }

// Write keeps a copy of line, which has no level.
func (q *Queue) Write(line []byte) (int, error) {
	next := queuedLine{line: append([]byte(nil), line...), dropped: q.dropped.Swap(0)}
	select {
	case q.lines <- next:
	default:
		q.dropped.Add(next.dropped + 1)
	}
	return len(line), nil
}

// WriteLevel keeps a copy of line if its level is logged.
func (q *Queue) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if !q.tap.logs(level) {
		return len(line), nil
	}
	return q.Write(line)
}

// Flush waits until what was logged is written, but not for longer than queuePatience.
func (q *Queue) Flush() {
	limit := time.NewTimer(queuePatience)
	defer limit.Stop()
	written := make(chan struct{})
	mark := queuedLine{written: written, dropped: q.dropped.Swap(0)}
	select {
	case q.lines <- mark:
	case <-limit.C:
		q.dropped.Add(mark.dropped)
		return
	}
	select {
	case <-written:
	case <-limit.C:
	}
}
