package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/devvault"
)

// machine is a sandbox and its vault.
type machine struct {
	dir    string // contains a folder "out"
	vault  *devvault.Vault
	agent  *devvault.Program // nil until startAgent
	socket string            // of the agent
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
	if m.agent, err = devvault.Run(ctx, m.vaultEnv(), nil, c.program("miosa-env"), "agent", "--config", conf, "--socket", m.socket); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, devvault.StartTimeout)
	defer cancel()
	for {
		_, missing := os.Stat(m.file())
		if m.healthy(ctx) && (missing == nil || !withFile) {
			return nil
		}
		select {
		case <-m.agent.Lines: // it prints none
			return m.agent.Stop(0)
		case <-ctx.Done():
			return fmt.Errorf("miosa-env agent has no values: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
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
	return append(m.vault.Environ("MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "HOME="+m.dir, "MIOSA_SOCKET="+filepath.Join(m.dir, "none"))
}

// agentEnv returns the environment of a program that gets its values from the agent.
func (m *machine) agentEnv() []string {
	return append(m.vault.Environ("MIOSA_SANDBOX_ID"), "HOME="+m.dir, "MIOSA_SOCKET="+m.socket)
}

func (m *machine) stop() error {
	var err error
	if m.agent != nil {
		err = m.agent.Stop(0)
	}
	return errors.Join(err, m.vault.Stop(0))
}
