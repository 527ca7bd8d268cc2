package machine

import (
	"io"
	"time"
)

const (
	logRoom     = 1024                   // lines that may wait
	logPatience = 500 * time.Millisecond // how long flush waits
)

// logQueue writes whole lines in order, on a goroutine: a supervisor that has a command to stop mustn't be held up by a
// reader of its log that doesn't read. A line is dropped where logRoom others wait.
type logQueue chan queuedLine

// queuedLine is a line, or a mark: written is closed when all before it was written.
type queuedLine struct {
	line    []byte
	written chan<- struct{}
}

// newLogQueue writes to w for as long as the process lives.
func newLogQueue(w io.Writer) logQueue {
	q := make(logQueue, logRoom)
	go func() {
		for next := range q {
			if next.written != nil {
				close(next.written)
				continue
			}
			_, _ = w.Write(next.line)
		}
	}()
	return q
}

// Write keeps a copy of line.
func (q logQueue) Write(line []byte) (int, error) {
	select {
	case q <- queuedLine{line: append([]byte(nil), line...)}:
	default:
	}
	return len(line), nil
}

// flush waits until what was logged is written, but not for longer than logPatience.
func (q logQueue) flush() {
	limit := time.NewTimer(logPatience)
	defer limit.Stop()
	written := make(chan struct{})
	select {
	case q <- queuedLine{written: written}:
	case <-limit.C:
		return
	}
	select {
	case <-written:
	case <-limit.C:
	}
}
