package replicatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/Shopify/toxiproxy/v2"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// vault is one of several replicas. Its methods other than URL are called by one goroutine.
type vault struct {
	Links []*link // to the servers of the cluster

	program string
	dir     string
	args    []string
	addr    string // "": not known before the first start
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended

	mu  sync.Mutex // guards url
	url string
}

// URL is the base URL of the API. It stays the same after restarts.
func (v *vault) URL() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.url
}

// Launch starts the vault, unless it runs, without waiting.
func (v *vault) Launch() error {
	if v.running() {
		return nil
	}
	log, err := os.Create(v.logFile()) // what the last process has logged isn't needed any more
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	addr := v.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	cmd := exec.Command(v.program, append([]string{"serve", "--addr", addr, "--log-format", "json"}, v.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	v.cmd, v.ended = cmd, ended
	return nil
}

func (v *vault) running() bool {
	if v.cmd == nil {
		return false
	}
	select {
	case <-v.ended:
		return false
	default:
		return true
	}
}

// Start starts the vault, unless it runs, and waits until it serves. If it ends, as without its database, it is started again.
func (v *vault) Start() error {
	if !poll.Within(patience, func() bool { return v.Launch() == nil && v.serves() }) {
		return fmt.Errorf("the vault doesn't serve:\n%s", v.Log())
	}
	return nil
}

// serves reports whether the vault has logged that it serves.
func (v *vault) serves() bool {
	text, err := os.ReadFile(v.logFile())
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(text)) {
		var line struct{ Message, Addr string }
		if json.Unmarshal([]byte(l), &line) == nil && line.Message == "serving" {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.addr, v.url = line.Addr, "http://"+line.Addr+"/api/v1"
			return true
		}
	}
	return false
}

// Kill kills the vault and waits for its end.
func (v *vault) Kill() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		<-v.ended
	}
}

// Pause stops the process until Resume.
func (v *vault) Pause() error { return v.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (v *vault) Resume() error { return v.cmd.Process.Signal(syscall.SIGCONT) }

// Cut cuts all links of the vault to its database.
func (v *vault) Cut() error {
	for _, l := range v.Links {
		if err := l.Cut(); err != nil {
			return err
		}
	}
	return nil
}

// Heal ends Cut. Connections that were open break.
func (v *vault) Heal() {
	for _, l := range v.Links {
		l.Heal()
	}
}

// Refuse makes the vault's database refuse connections, and breaks those that are open, until Accept.
func (v *vault) Refuse() error {
	for _, l := range v.Links {
		l.proxy.Stop()
	}
	return nil
}

// Accept ends Refuse.
func (v *vault) Accept() error {
	for _, l := range v.Links {
		if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return err
		}
	}
	return nil
}

// Break breaks all connections of the vault to its database.
func (v *vault) Break() error {
	defer v.Heal()
	return v.Cut()
}

func (v *vault) logFile() string { return filepath.Join(v.dir, "log") }

// Log returns the last lines that the vault has logged since its start.
func (v *vault) Log() string {
	text, err := os.ReadFile(v.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
