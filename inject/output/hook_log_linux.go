package output

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
)

// Limits of a hook's output that is logged.
const (
	hookLine  = 4 << 10 // bytes of a line
	hookLines = 1000    // lines of one run
)

// hookRest is how long to wait for more output after a hook has ended while a process that it left running has the output
// open.
const hookRest = time.Second

// hookLog logs the lines of a hook's output.
type hookLog struct {
	log    zerolog.Logger
	hide   func(line []byte) string
	buffer []byte // on the heap, since a growing stack leaves copies
	line   []byte
	long   bool // the line is longer than hookLine
	count  int
}

// run runs a command and logs its output. It uses its own pipe because package exec leaves the last output in a buffer on
// the heap, and hooks may print values.
func (l *hookLog) run(cmd *exec.Cmd) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	cmd.Stdout, cmd.Stderr = to, to
	err = cmd.Start()
	_ = to.Close()
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	reading.Go(func() { l.read(from) })
	err = cmd.Wait()
	_ = from.SetReadDeadline(time.Now().Add(hookRest))
	reading.Wait()
	return err
}

// read reads until the end or the deadline, and clears its buffer.
func (l *hookLog) read(from *os.File) {
	defer l.end()
	for {
		n, err := from.Read(l.buffer)
		l.take(l.buffer[:n])
		clear(l.buffer[:n])
		if err != nil {
			return
		}
	}
}

func (l *hookLog) take(rest []byte) {
	for len(rest) > 0 {
		ended := false
		api.Quietly(func() {
			var line []byte
			line, rest, ended = bytes.Cut(rest, []byte("\n"))
			if l.long = l.long || len(l.line)+len(line) > hookLine; !l.long {
				l.line = append(l.line, line...)
			}
		})
		if ended {
			l.end()
		}
	}
}

// end logs the current line. A line that is too long isn't shortened, since it could then end with a part of a value.
func (l *hookLog) end() {
	if len(l.line) == 0 && !l.long {
		return
	}
	text, long := "", l.long
	if !long {
		text = l.hide(bytes.TrimSuffix(l.line, []byte("\r")))
	}
	clear(l.line[:cap(l.line)])
	l.line, l.long = l.line[:0], false
	switch l.count++; {
	case l.count == hookLines:
		l.log.Warn().Int("lines", hookLines).Msg("hook output too long: rest omitted")
	case l.count > hookLines:
	case long:
		l.log.Warn().Int("longest", hookLine).Msg("hook output line too long: omitted")
	default:
		l.log.Info().Str("line", text).Msg("hook")
	}
}
