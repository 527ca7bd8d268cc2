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

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// startLimit is how long a program may take to be ready.
const startLimit = 30 * time.Second

// machine is a sandbox and its vault.
type machine struct {
	dir    string // contains a folder "out"
	vault  *devVault
	agent  *program // nil until startAgent
	socket string   // of the agent
}

// startMachine starts a vault with so many bindings of one sandbox. The machine's folder is parent/name.
func (c config) startMachine(ctx context.Context, parent, name string, bindings int) (m *machine, err error) {
	m = &machine{dir: filepath.Join(parent, name)}
	m.socket = filepath.Join(m.dir, "agent.sock")
	if err := os.MkdirAll(filepath.Join(m.dir, "out"), 0o700); err != nil {
		return nil, err
	}
	m.vault, err = c.startVault(ctx, m.dir, bindings)
	return m, err
}

// file returns the path of the agent's env file.
func (m *machine) file() string { return filepath.Join(m.dir, "out", "app.env") }

// startAgent starts an agent, with an env file if withFile is set, and waits until it has the values.
func (c config) startAgent(ctx context.Context, m *machine, withFile bool) (err error) {
	text, conf := "", filepath.Join(m.dir, "agent.toml")
	if withFile {
		text = fmt.Sprintf("[[output]]\npath = %q\nformat = \"systemd\"\nallow_disk = true\n", m.file())
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if m.agent, err = startProgram(ctx, m.vaultEnv(), nil, c.program("miosa-env"), "agent", "--config", conf, "--socket", m.socket); err != nil {
		return err
	}
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
		default:
		}
		if err := delay.Sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("miosa-env agent has no values: %w", err)
		}
	}
}

// healthy reports whether the agent has values.
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

// vaultEnv returns the environment of a program that gets its values from the vault.
func (m *machine) vaultEnv() []string {
	return append(m.environ("MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "MIOSA_SOCKET="+filepath.Join(m.dir, "none"))
}

// agentEnv returns the environment of a program that gets its values from the agent.
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

// program is a running miosa-env or miosa-vault.
type program struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the fields below are final
	stderr bytes.Buffer
	err    error // of Wait
}

// startProgram starts a program, which gets TERM when ctx ends. stdout may be nil.
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

// said returns what the program wrote to standard error. Call it after ended.
func (p *program) said() string { return strings.TrimSpace(p.stderr.String()) }

// stop stops the program. It returns an error if the program has ended before, or ends with an error.
func (p *program) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM) {
		return err // run, whose command died of the signal
	}
	if err = errors.Join(err, p.err); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), err, p.said())
	}
	return nil
}
