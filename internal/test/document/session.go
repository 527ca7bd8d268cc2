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

// Session is a script that a shell runs as it stands.
type Session struct {
	Script string
	Dir    string        // where it starts
	Env    []string      // all of its environment, but for MIOSA_SOCKET where that isn't in it
	Limit  time.Duration // what it may take; zero is a minute
	Attr   *syscall.SysProcAttr
}

// environ is the session's environment, with a socket of its own: an agent of the machine's is none of its business.
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

// Run runs the session, and gives what it printed to standard output and standard error. One that fails, takes
// too long or leaves something behind is an error of the test, which then logs what was printed, without keys.
func (s Session) Run(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(s.Limit, time.Minute))
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-euc", s.Script)
	shell.Dir, shell.Env = s.Dir, s.environ(t)
	// A group of its own, so that a session that breaks off leaves no vault behind.
	shell.SysProcAttr = cmp.Or(s.Attr, &syscall.SysProcAttr{})
	shell.SysProcAttr.Setpgid = true
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) }
	shell.WaitDelay = 10 * time.Second
	out, err := shell.CombinedOutput()
	if shell.Process != nil {
		_ = shell.Cancel() // there is nobody left where it went well
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
