package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startLimit is how long a program may take to be ready.
const startLimit = 30 * time.Second

// machine is a sandbox, and the vault of its secrets.
type machine struct {
	dir    string // its own, with a folder "out" in it
	vault  *devVault
	agent  *program // nil until startAgent
	socket string   // the agent's
}

// startMachine starts a vault with so many bindings of one sandbox. Its folder is made in parent, as name.
func (c config) startMachine(ctx context.Context, parent, name string, bindings int) (m *machine, err error) {
	m = &machine{dir: filepath.Join(parent, name)}
	m.socket = filepath.Join(m.dir, "agent.sock")
	if err := os.MkdirAll(filepath.Join(m.dir, "out"), 0o700); err != nil {
		return nil, err
	}
	m.vault, err = c.startVault(ctx, m.dir, bindings)
	return m, err
}

// file is the path for an env file of the agent's.
func (m *machine) file() string { return filepath.Join(m.dir, "out", "app.env") }

// startAgent starts an agent, which has taken the values when this returns, and with withFile has an env file.
func (c config) startAgent(ctx context.Context, m *machine, withFile bool) error {
	path, err := c.program("miosa-env")
	if err != nil {
		return err
	}
	text, conf := "", filepath.Join(m.dir, "agent.toml")
	if withFile {
		text = fmt.Sprintf("[[output]]\npath = %q\nformat = \"systemd\"\nallow_disk = true\n", m.file())
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if m.agent, err = startProgram(ctx, m.vault.env, nil, path, "agent", "--config", conf, "--socket", m.socket); err != nil {
		return err
	}
	return m.awaitAgent(ctx, withFile)
}

// awaitAgent returns once the agent serves values, and has written its file if it has one.
func (m *machine) awaitAgent(ctx context.Context, withFile bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, missing := os.Stat(m.file())
		if m.healthy(ctx) && (missing == nil || !withFile) {
			return nil
		}
		select {
		case <-m.agent.ended:
			return fmt.Errorf("miosa-env agent ended: %s", m.agent.said())
		case <-ctx.Done():
			return fmt.Errorf("miosa-env agent has no values: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (m *machine) healthy(ctx context.Context) bool {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", m.socket)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	answer, err := io.ReadAll(c)
	return err == nil && bytes.Contains(answer, []byte(" 200 "))
}

// vaultEnv is the environment of a program in the sandbox that asks the vault.
func (m *machine) vaultEnv() []string {
	return append(m.environ("MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "MIOSA_SOCKET="+filepath.Join(m.dir, "none"))
}

// agentEnv is that of one that asks the agent.
func (m *machine) agentEnv() []string {
	return append(m.environ("MIOSA_SANDBOX_ID"), "MIOSA_SOCKET="+m.socket)
}

func (m *machine) environ(names ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.dir}
	for _, name := range names {
		env = append(env, name+"="+m.vault.exports[name])
	}
	return env
}

func (m *machine) stop() error {
	var err error
	if m.agent != nil {
		err = m.agent.stop()
	}
	return errors.Join(err, m.vault.stop())
}

// program is one of ours that was started and runs until it is stopped.
type program struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // not to be looked at before ended
	ended  chan struct{}
	err    error // of Wait, after ended
}

// startProgram starts it. stdout may be nil. It is given TERM when ctx ends.
func startProgram(ctx context.Context, env []string, stdout *os.File, path string, args ...string) (*program, error) {
	p := &program{cmd: exec.CommandContext(ctx, path, args...), ended: make(chan struct{})}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.Env, p.cmd.Stderr = env, &p.stderr
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// said is what the program wrote to standard error, once it has ended.
func (p *program) said() string { return strings.TrimSpace(p.stderr.String()) }

// stop has the program end, and returns an error if it hadn't run until now, or ends of anything else.
func (p *program) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM) {
		return err // a command under run, which ended of it
	}
	if err = errors.Join(err, p.err); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), err, p.said())
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
