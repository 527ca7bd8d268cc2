package document

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Session is a shell script of a document.
type Session struct {
	Script string
	Dir    string        // its working directory
	Env    []string      // its environment; MIOSA_SOCKET is added if it is missing
	Limit  time.Duration // for the whole script; zero is a minute
	Attr   *syscall.SysProcAttr
}

// environ returns the session's environment, with its own socket, so that it doesn't use an agent on this machine.
func (s Session) environ(t testing.TB) []string {
	t.Helper()
	if slices.ContainsFunc(s.Env, func(entry string) bool { return strings.HasPrefix(entry, "MIOSA_SOCKET=") }) {
		return s.Env
	}
	folder, err := os.MkdirTemp("", "session") // a test's own folder may make too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return append(slices.Clone(s.Env), "MIOSA_SOCKET="+filepath.Join(folder, "agent.sock"))
}

// Run runs the session and returns its standard output and standard error. The test fails if the session fails, takes too long
// or leaves a process behind; it then logs the output without keys.
func (s Session) Run(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(s.Limit, time.Minute))
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-euc", s.Script)
	shell.Dir, shell.Env = s.Dir, s.environ(t)
	// In its own process group, so that nothing of a failed session keeps running.
	shell.SysProcAttr = cmp.Or(s.Attr, &syscall.SysProcAttr{})
	shell.SysProcAttr.Setpgid = true
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) }
	shell.WaitDelay = 10 * time.Second
	out, err := shell.CombinedOutput()
	if shell.Process != nil {
		_ = shell.Cancel() // after a success there is no process left
	}
	if err != nil {
		t.Errorf("the session ended with %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the session printed:\n%s", api.RedactKeys(string(out)))
		}
	})
	return string(out)
}
