package devvault

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Program is a running program.
type Program struct {
	Lines <-chan string // of its standard output; closed when that ends

	name   string
	cmd    *exec.Cmd
	stderr bytes.Buffer // unless Run was called with another writer
}

// Run starts a program. It gets TERM when ctx ends, and KILL ten seconds later. env nil means the environment of this process.
// If stderr is nil, errors contain what the program writes to standard error.
func Run(ctx context.Context, env []string, stderr io.Writer, path string, args ...string) (*Program, error) {
	lines := make(chan string)
	p := &Program{Lines: lines, name: filepath.Base(path), cmd: exec.CommandContext(ctx, path, args...)}
	p.cmd.Env, p.cmd.Stderr = env, cmp.Or[io.Writer](stderr, &p.stderr)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return p, nil
}

// Pid returns the program's process id.
func (p *Program) Pid() int { return p.cmd.Process.Pid }

// Line returns the next line that the program prints.
// Errors: the end of the program; the cause of ctx.
func (p *Program) Line(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case line, ok := <-p.Lines:
		if !ok {
			return "", p.ended()
		}
		return line, nil
	}
}

// Stop stops the program if it is running. It returns an error unless the exit code is want.
func (p *Program) Stop(want int) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	if err := p.ended(); p.cmd.ProcessState.ExitCode() != want {
		return err
	}
	return nil
}

// ended waits for the program's end and returns it as an error.
func (p *Program) ended() error {
	for range p.Lines { // before Wait, which closes the pipe
	}
	var exit *exec.ExitError
	if p.cmd.ProcessState == nil {
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return fmt.Errorf("%s ended with %d: %s", p.name, p.cmd.ProcessState.ExitCode(), bytes.TrimSpace(p.stderr.Bytes()))
}
