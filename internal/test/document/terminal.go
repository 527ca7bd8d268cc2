package document

import (
	"cmp"
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/Miosa-osa/miosa-env/api"
)

// RunOnTerminal runs the session on a new terminal and returns its output. For each pair of words it waits for the first in the output
// after the previous pair, and types the second.
func (s Session) RunOnTerminal(t testing.TB, pairs ...string) (screen string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(s.Limit, time.Minute))
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-euc", s.Script)
	shell.Dir, shell.Env, shell.SysProcAttr = s.Dir, append(s.environ(t), "TERM=xterm"), s.Attr
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGHUP) }
	shell.WaitDelay = 10 * time.Second
	terminal, err := pty.Start(shell) // a session and a group of its own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen showed:\n%s", api.RedactKeys(screen))
		}
	})
	seen := 0
	for b := make([]byte, 4096); err == nil; { // until no process has the terminal open
		var n int
		n, err = terminal.Read(b)
		screen += string(b[:n])
		for len(pairs) > 1 && strings.Contains(screen[seen:], pairs[0]) {
			seen += strings.Index(screen[seen:], pairs[0]) + len(pairs[0])
			if _, err := terminal.WriteString(pairs[1]); err != nil {
				t.Error(err)
			}
			pairs = pairs[2:]
		}
	}
	if err := shell.Wait(); err != nil {
		t.Errorf("the session ended with %v", err)
	}
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGHUP) // after a success there is no process left
	if len(pairs) > 0 {
		t.Errorf("the screen never showed %q", pairs[0])
	}
	return screen
}
