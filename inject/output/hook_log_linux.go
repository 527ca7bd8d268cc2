package output

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/orphan"
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
	orphans *orphan.Reaper // starts the hook
	log     zerolog.Logger
	hide    func(line []byte) string
	count   int // of lines
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
	err = l.orphans.Start(cmd)
	_ = to.Close()
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	reading.Go(func() { l.read(from) })
	err = l.orphans.Wait(cmd)
	_ = from.SetReadDeadline(time.Now().Add(hookRest))
	reading.Wait()
	return err
}

// read logs lines until the end or the deadline. It clears what it has read.
func (l *hookLog) read(from *os.File) {
	buffer := make([]byte, hookLine+1) // on the heap, since a growing stack leaves copies
	size, long := 0, false             // of the last line in buffer; whether its start was dropped
	for {
		n, err := from.Read(buffer[size:])
		rest := buffer[:size+n]
		for ended := true; ended; {
			var line, after []byte
			api.Quietly(func() { line, after, ended = bytes.Cut(rest, []byte("\n")) })
			if ended || err != nil {
				l.line(line, long)
				rest, long = after, false
			}
		}
		if len(rest) == len(buffer) {
			rest, long = nil, true
		}
		api.Quietly(func() { size = copy(buffer, rest) })
		clear(buffer[size:])
		if err != nil {
			return
		}
	}
}

// line logs a line. One that is too long isn't shortened, since it could then end with a part of a value.
func (l *hookLog) line(line []byte, long bool) {
	if len(line) == 0 && !long {
		return
	}
	switch l.count++; {
	case l.count == hookLines:
		l.log.Warn().Int("lines", hookLines).Msg("hook output too long: rest omitted")
	case l.count > hookLines:
	case long:
		l.log.Warn().Int("longest", hookLine).Msg("hook output line too long: omitted")
	default:
		l.log.Info().Str("line", l.hide(bytes.TrimSuffix(line, []byte("\r")))).Msg("hook")
	}
}
