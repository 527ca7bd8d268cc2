//go:build !race

package packagetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// daemon is a running program for arm64, with its output in a file.
type daemon struct {
	*exec.Cmd
	log string
}

// start starts a command, which is killed when the test ends.
func (e *emulated) start(t *testing.T, line ...string) *daemon {
	t.Helper()
	s := &daemon{exec.Command(line[0], line[1:]...), filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.Stdout, s.Stderr, s.Env = log, log, e.environ
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.ProcessState == nil {
			_ = s.Process.Kill()
			_ = s.Wait()
		}
	})
	return s
}

// prints waits for a text in the output.
func (s *daemon) prints(t *testing.T, text string) {
	t.Helper()
	poll.Until(t, time.Minute, text, func() bool {
		log, err := os.ReadFile(s.log)
		return err == nil && bytes.Contains(log, []byte(text))
	})
}

// ends sends a signal, if any, and checks the exit code.
func (s *daemon) ends(t *testing.T, signal syscall.Signal, code int) {
	t.Helper()
	if signal != 0 {
		if err := s.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() { _ = s.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = s.Process.Kill()
		<-ended
		t.Error("it was still there after a minute")
	}
	if got := s.ProcessState.ExitCode(); got != code {
		log, err := os.ReadFile(s.log)
		t.Errorf("exit code %d, want %d: %v\n%s", got, code, err, api.RedactKeys(string(log)))
	}
}

// A supervised command is restarted by a rotation, and stopped with its own exit code or killed after the timeout.
func TestArm64_Supervise(t *testing.T) {
	e := newEmulated(t)
	const script = `trap 'echo told; exit 3' TERM; echo "has $APP_TOKEN"; while :; do sleep 0.05; done`
	command := e.start(t, e.line("miosa-env", "run", "--on-change", "restart", "--", "/bin/sh", "-c", script)...)
	command.prints(t, "has it's a value\n")
	e.Rotate(t, e.secret, "what came next")
	command.prints(t, "told\nhas what came next\n")
	command.ends(t, syscall.SIGTERM, 3)

	deaf := e.start(t, e.line("miosa-env", "run", "--on-change", "restart", "--stop-timeout", "300ms", "--", "/bin/sh", "-c", `trap '' TERM; echo deaf; while :; do sleep 0.05; done`)...)
	deaf.prints(t, "deaf\n")
	deaf.ends(t, syscall.SIGTERM, 137)
}

// As process 1, miosa-env reaps orphans.
func TestArm64_Process1(t *testing.T) {
	needs.Command(t, "unshare")
	needs.Root(t, "for a PID namespace")
	e := newEmulated(t)
	const script = `test $PPID = 1 || exit 4
pids=$(sh -c 'for n in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2 >/dev/null & echo $!; done')
for n in $(seq 400); do
	left=; for pid in $pids; do test -d /proc/$pid && left=$pid; done
	test "$left" || { echo all reaped; exit 5; }
	sleep 0.05
done`
	line := e.line("miosa-env", "run", "--", "/bin/sh", "-c", script)
	out, errs, code := ran(t, e.environ, "unshare", slices.Concat([]string{"--pid", "--fork", "--mount-proc", "--kill-child=KILL"}, line)...)
	if out != "all reaped\n" || code != 5 {
		t.Errorf("%q, exit code %d, want 5:\n%s", out, code, errs)
	}
}

// The agent updates a file, starts from its cache without a vault, and serves commands.
func TestArm64_Agent(t *testing.T) {
	e := newEmulated(t)
	dir, err := os.MkdirTemp("/dev/shm", "packagetest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config, output := filepath.Join(dir, "agent.toml"), filepath.Join(dir, "app.env")
	text := fmt.Sprintf("cache = true\ncache_dir = %q\n[[output]]\npath = %q\nformat = \"docker\"\n", filepath.Join(dir, "cache"), output)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	line := e.line("miosa-env", "agent", "--config", config)
	has := func(want string) {
		t.Helper()
		poll.Until(t, time.Minute, "the file with its value", func() bool {
			text, err := os.ReadFile(output)
			return err == nil && string(text) == want
		})
	}
	status := func(code int, text string) {
		t.Helper()
		poll.Until(t, time.Minute, "status "+text, func() bool {
			out, _, got := e.ran(t, "status")
			return got == code && strings.Contains(out, text)
		})
	}
	agent := e.start(t, line...)
	has("APP_TOKEN=it's a value\n")
	e.Rotate(t, e.secret, "what came next")
	has("APP_TOKEN=what came next\n")
	status(0, "fresh")
	if out, errs, code := e.ran(t, "run", "--", "/bin/sh", "-c", `echo "$APP_TOKEN"`); out != "what came next\n" || code != 0 {
		t.Errorf("run beside the agent: %d bytes, exit code %d\n%s", len(out), code, errs)
	}
	agent.ends(t, syscall.SIGTERM, 0)
	if _, err := os.Stat(output); !os.IsNotExist(err) {
		t.Errorf("the file has outlived the agent: %v", err)
	}
	e.Stop(t)
	agent = e.start(t, line...)
	has("APP_TOKEN=what came next\n")
	agent.ends(t, syscall.SIGTERM, 0)
	if log, err := os.ReadFile(agent.log); err != nil || bytes.Contains(log, []byte("what came next")) {
		t.Errorf("a value is in the agent's log: %v", err)
	}
}

// The vault for arm64 serves the client for arm64.
func TestArm64_Vault(t *testing.T) {
	e := newEmulated(t)
	seed := filepath.Join(t.TempDir(), "example.env")
	if err := os.WriteFile(seed, []byte("GH_TOKEN=an-example-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vault := e.start(t, e.line("miosa-vault", "dev", "--resource", "sandbox:sb_1", "--seed", seed)...)
	vault.prints(t, "# ready\n")
	log, err := os.ReadFile(vault.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if variable, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			e.environ = append(e.environ, variable)
		}
	}
	if out, errs, code := e.ran(t, "run", "--", "/bin/sh", "-c", `echo "$GH_TOKEN"`); out != "an-example-token\n" || code != 0 {
		t.Errorf("%d bytes, exit code %d\n%s", len(out), code, errs)
	}
	vault.ends(t, syscall.SIGTERM, 0)
}
