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

// pasteGap is how long the next piece of a paste may take, in milliseconds.
const pasteGap = 50

// interrupted is that somebody ended us at a terminal.
type interrupted struct{ signal syscall.Signal }

func (interrupted) Error() string { return "interrupted: nothing was done" }

func (i interrupted) ExitCode() int { return 128 + int(i.signal) }

// askHidden asks for one line that isn't shown as it is typed. Whatever ends it, the terminal is as it was.
//
// More than one line is refused: it has been pasted, and the shell would run what is left of it.
func askHidden(p *program.Program, t *os.File, question string) (api.Value, error) {
	fd := int(t.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return api.Value{}, fmt.Errorf("ask for the value: %w", err)
	}
	signals := make(chan os.Signal, 1)
	// TSTP is caught to no effect: a shell must not get the terminal back like this.
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
	go func() { // it ends with us, where it isn't waited for
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

// typedValue refuses what a terminal can't give whole.
func typedValue(fd int, line []byte, err error) (api.Value, error) {
	hint := "for a value of several lines or more than " + longLine + " characters pipe it in, or give --value-file FILE"
	switch {
	case err != nil:
		return api.Value{}, fmt.Errorf("ask for the value: %w", cause.Of(err))
	case dropRest(fd) && len(line) < maxTyped:
		clear(line)
		return api.Value{}, cli.WithHint(errors.New("more than one line was typed or pasted"), hint)
	case len(line) >= maxTyped:
		clear(line)
		return api.Value{}, cli.WithHint(errors.New("the value is longer than a terminal's line"), hint)
	}
	return api.NewValue(line), nil
}

// dropRest drops what is left to read, and tells whether there was anything.
func dropRest(fd int) (dropped bool) {
	for goesOn(fd) {
		dropped = true
		if dropInput(fd) != nil {
			break
		}
	}
	return dropped
}

// noEcho lets a terminal give whole lines, which it doesn't show.
func noEcho(fd int) error {
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	t.Lflag = t.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, setTermios, t)
}

// confirm asks whether to go on, where there is somebody to ask; elsewhere --yes has to say so.
// Errors: that it isn't to be.
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

// readLine reads a line, or what there is of one before the end, and nothing beyond it. It reads into one
// array: a growing one would leave copies behind.
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
