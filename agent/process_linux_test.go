package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// Some faults need their own process: this test binary runs itself as an agent or a vault.
const (
	agentVariable = "MIOSA_TEST_AGENT" // an agentProcess as JSON
	vaultVariable = "MIOSA_TEST_VAULT" // a vaultProcess as JSON
)

// agentProcess configures the process of an agent. It runs until its stdin ends, and prints a line after each change.
type agentProcess struct {
	BaseURL, KeyFile, CAFile string
}

// served is a line of an agent process. It has a checksum of the first value, not the value.
type served struct {
	State    agent.State
	Version  int64
	Sum      string
	Failures int64
	Error    string
	Asked    time.Time // a moment before
}

// vaultProcess configures the process of a vault.
type vaultProcess struct {
	DataDir, Addr string
	RootKey       string // its file
}

// sum returns a checksum.
func sum(value []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(value)
	return strconv.FormatUint(h.Sum64(), 36)
}

// TestProcess is the main function of those processes.
func TestProcess(t *testing.T) {
	var a agentProcess
	var v vaultProcess
	switch {
	case json.Unmarshal([]byte(os.Getenv(agentVariable)), &a) == nil:
		must(t, a.run(t.Context()))
	case json.Unmarshal([]byte(os.Getenv(vaultVariable)), &v) == nil:
		must(t, v.run(t.Context()))
	}
}

func (p agentProcess) run(ctx context.Context) error {
	if err := memory.Harden(); err != nil {
		return err
	}
	text, err := os.ReadFile(p.KeyFile)
	if err != nil {
		return err
	}
	key, err := api.ParseKey(string(text))
	if err != nil {
		return err
	}
	client, err := fetch.New(fetch.Config{BaseURL: p.BaseURL, Key: key, CAFile: p.CAFile})
	if err != nil {
		return err
	}
	defer client.Close()
	conf := agent.Config{Resource: sandbox, Source: client.Source(sandbox), Sleep: agent.WatchSleep}
	a, err := agent.New(conf)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // requests a set for each line, and ends with the last
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			_ = a.Refresh(ctx)
		}
		cancel()
	}()
	var printing sync.WaitGroup
	printing.Go(func() {
		out, last := json.NewEncoder(os.Stdout), served{}
		for ctx.Err() == nil {
			changed, asked := a.Changed(), time.Now()
			set, s := a.Snapshot()
			now := served{State: s.State, Failures: s.Counts.Failures, Error: s.LastError}
			if len(set.Bound) > 0 {
				now.Version = set.Bound[0].Version
				set.Bound[0].Value.Use(func(v []byte) { now.Sum = sum(v) })
			}
			set = api.Snapshot{}
			if now != last {
				last = now
				now.Asked = asked
				_ = out.Encode(now)
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	})
	err = a.Run(ctx)
	cancel()
	printing.Wait()
	return err
}

func (p vaultProcess) run(ctx context.Context) error {
	v, err := vault.Open(ctx, vault.Config{
		Store: store.Config{DataDir: p.DataDir, RootKey: keyring.Root{File: p.RootKey}}, Limits: limit.Values{limit.KeyRequests: 1e6, limit.KeyBurst: 1e6, limit.TenantRequests: 1e6, limit.TenantEvents: 1e6},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	return errors.Join(v.Serve(ctx, l), v.Close())
}

// process is a running child.
type process struct {
	*exec.Cmd
	stdin interface{ Close() error }
	said  chan served
	ended chan struct{}
}

// spawn runs this binary with an environment variable.
func spawn(t *testing.T, variable string, conf any, attr *syscall.SysProcAttr) *process {
	t.Helper()
	text, err := json.Marshal(conf)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^TestProcess$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	p := &process{Cmd: cmd, stdin: stdin, said: make(chan served, 1000), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer close(p.said)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var s served
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				p.said <- s
			}
		}
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill kills the process and waits for its end.
func (p *process) kill() {
	_ = p.Process.Kill()
	_ = p.stdin.Close()
	<-p.ended
	_ = p.Wait()
}

// pause stops the process, and returns when all its threads have stopped, which takes a while on a busy machine.
func (p *process) pause(t *testing.T) {
	t.Helper()
	must(t, p.Process.Signal(unix.SIGSTOP))
	for {
		err := unix.Waitid(unix.P_PID, p.Process.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			must(t, err)
			return
		}
	}
}

// await reads lines of an agent until want returns true, and returns them.
func (p *process) await(t *testing.T, limit time.Duration, what string, want func(served) bool) []served {
	t.Helper()
	deadline := time.After(limit)
	var all []served
	for {
		select {
		case s, ok := <-p.said:
			if !ok {
				t.Fatalf("the agent ended; its output: %+v", all)
			}
			if all = append(all, s); want(s) {
				return all
			}
		case <-deadline:
			t.Fatalf("not within %s: %s; output: %+v", limit, what, all)
		}
	}
}

func serves(value string) func(served) bool {
	return func(s served) bool { return s.State == agent.Fresh && s.Sum == sum([]byte(value)) }
}

// keyFile writes a key to a file.
func keyFile(t *testing.T, key api.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(path, []byte(key.Reveal()), 0o600))
	return path
}

// peakMemory returns the peak memory of a process in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return kib << 10
}
