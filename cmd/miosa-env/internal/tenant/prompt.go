package tenant

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// pasteGap is how long the next piece of pasted text may take, in milliseconds.
const pasteGap = 50

// interrupted is the error if a signal ends a prompt.
type interrupted struct{ signal syscall.Signal }

func (interrupted) Error() string   { return "interrupted: nothing was done" }
func (i interrupted) ExitCode() int { return 128 + int(i.signal) }

// askHidden asks for one line, which the terminal doesn't show, and restores the terminal. It refuses several lines: they were
// pasted, and the shell would run the rest.
func askHidden(p *program.Program, t *os.File, question string) (api.Value, error) {
	fd := int(t.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return api.Value{}, fmt.Errorf("ask for the value: %w", err)
	}
	signals := make(chan os.Signal, 1)
	// TSTP is caught and ignored: a shell must not get a terminal without echo.
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP)
	defer inherited.Act()
	defer signal.Stop(signals)
	defer func() { _ = term.Restore(fd, before) }()
	if err := noEcho(fd); err != nil {
		return api.Value{}, fmt.Errorf("ask for the value: %w", err)
	}
	_, _ = io.WriteString(p.Stderr, question)
	type answer struct {
		line []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() { // after an interruption it ends with the process
		line, err := readLine(t)
		typed <- answer{line, err}
	}()
	for {
		select {
		case got := <-signals:
			if s, ok := got.(syscall.Signal); ok && s != syscall.SIGTSTP {
				fmt.Fprintln(p.Stderr)
				return api.Value{}, interrupted{s}
			}
		case a := <-typed:
			fmt.Fprintln(p.Stderr)
			return typedValue(fd, a.line, a.err)
		}
	}
}

// typedValue returns a line as a value. It refuses input that a terminal can't pass on completely.
func typedValue(fd int, line []byte, err error) (api.Value, error) {
	if err != nil {
		return api.Value{}, fmt.Errorf("ask for the value: %w", cause.Of(err))
	}
	problem := ""
	if dropInput(fd) {
		problem = "more than one line was typed or pasted"
	}
	if len(line) >= maxTyped {
		problem = "the value is longer than a terminal's line"
	}
	if problem != "" {
		clear(line)
		return api.Value{}, cli.WithHint(errors.New(problem), "for a value of several lines or more than "+longLine+" characters pipe it in, or give --value-file FILE")
	}
	return api.NewValue(line), nil
}

// dropInput drops unread input, and reports whether there was any.
func dropInput(fd int) (dropped bool) {
	for hasInput(fd) {
		dropped = true
		if flushInput(fd) != nil {
			break
		}
	}
	return dropped
}

// noEcho makes a terminal pass on complete lines without showing them.
func noEcho(fd int) error {
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	t.Lflag = t.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, setTermios, t)
}

// confirm asks on the terminal whether to continue, unless --yes is given. It returns an error if the answer isn't yes, or if
// there is no terminal.
func confirm(p *program.Program, yes bool, question string) error {
	if yes {
		return nil
	}
	t, ok := program.TerminalOf(p.Stdin)
	if !ok {
		return cli.Usage(errors.New("there is no terminal to ask for confirmation"), "add --yes")
	}
	_, _ = io.WriteString(p.Stderr, question+" [y/N] ")
	answer, err := readLine(t)
	if err != nil {
		return fmt.Errorf("ask: %w", cause.Of(err))
	}
	switch strings.ToLower(strings.TrimSpace(string(answer))) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// readLine reads up to the end of a line or of the input, and nothing after it. The buffer is allocated once: growing it would
// leave copies in memory.
func readLine(r io.Reader) ([]byte, error) {
	line := make([]byte, 0, maxTyped+2)
	for len(line) < cap(line)-1 {
		b := line[len(line) : len(line)+1]
		switch n, err := r.Read(b); {
		case errors.Is(err, io.EOF), n == 1 && b[0] == '\n':
			return line, nil
		case err != nil:
			clear(line)
			return nil, err
		case n == 1:
			line = line[:len(line)+1]
		}
	}
	return line, nil
}
