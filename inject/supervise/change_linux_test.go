package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

func TestParseChange(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want supervise.Change
		bad  bool
	}{
		{in: "ignore"},
		{in: "restart", want: supervise.Change{Restart: true}},
		{in: "signal=HUP", want: supervise.Change{Signal: unix.SIGHUP}},
		{in: "signal=SIGRTMIN+1", want: supervise.Change{Signal: 35}},
		{in: "hook=a=b; c", want: supervise.Change{Hook: "a=b; c"}},
		{in: "", bad: true}, {in: "signal", bad: true}, {in: "signal=", bad: true}, {in: "hook=", bad: true},
		{in: "restart=1", bad: true}, {in: "signal=NOPE", bad: true}, {in: "signal=0", bad: true}, {in: "signal=65", bad: true},
	} {
		got, err := supervise.ParseChange(tt.in)
		if (err != nil) != tt.bad || err == nil && got != tt.want {
			t.Errorf("ParseChange(%q) = %+v, %v", tt.in, got, err)
		}
	}
}

// changing runs script under a supervisor with the given flags. FILE in the script stands for a file; wrote returns the
// words in it. Each line written to the fifo changes is a new NAME=value.
func changing(t *testing.T, pid1 bool, script string, flags ...string) (c *exec.Cmd, changes string, wrote func() []string) {
	t.Helper()
	return changingAs(t, pid1, func(*exec.Cmd) {}, script, flags...)
}

// changingAs is changing with a call of prepare before the supervisor starts.
func changingAs(t *testing.T, pid1 bool, prepare func(*exec.Cmd), script string, flags ...string) (c *exec.Cmd, changes string, wrote func() []string) {
	t.Helper()
	changes = fifo.New(t)
	file := filepath.Join(t.TempDir(), "wrote")
	argv := append(flags, "-changes", changes, "sh", "-c", strings.ReplaceAll(script, "FILE", file))
	c = under(t, "supervise", pid1, argv...)
	c.Env = append(c.Env, "SECRET=first")
	prepare(c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(unix.SIGTERM) // not KILL: the supervisor must end a command that ignores TERM
		_ = c.Wait()
	})
	return c, changes, func() []string {
		b, _ := os.ReadFile(file)
		return strings.Fields(string(b))
	}
}

func waitFor(t *testing.T, wrote func() []string, want ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the command wrote %v", wrote())
		}
	}()
	poll.Until(t, 10*time.Second, strings.Join(want, " "), func() bool { return strings.Join(wrote(), " ") == strings.Join(want, " ") })
}

const server = `trap 'echo stopped >> FILE; exit 9' TERM; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`

func TestRestart(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			c, changes, wrote := changing(t, way.pid1, server, "-on-change", "restart", "-settle", "10ms")
			waitFor(t, wrote, "first")
			fifo.WriteLine(t, changes, "SECRET=second")
			waitFor(t, wrote, "first", "stopped", "second")
			fifo.WriteLine(t, changes, "SECRET=third")
			waitFor(t, wrote, "first", "stopped", "second", "stopped", "third")
			kill(t, c.Process.Pid, unix.SIGTERM)
			_ = c.Wait()
			if code := codeOf(c); code != 9 {
				t.Errorf("exit code %d, want 9", code)
			}
		})
	}
}

// TestRestartsKeepNoFiles checks that a supervisor has as many open files after many restarts as after few.
func TestRestartsKeepNoFiles(t *testing.T) {
	files := func(pid int) int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	for _, where := range []string{"pipe", "terminal"} {
		t.Run(where, func(t *testing.T) {
			changes := fifo.New(t)
			c := under(t, "supervise", false, "-mask", masking, "-on-change", "restart", "-changes", changes, "sh", "-c", `echo "<$SECRET>"; read x < "$0"`, fifo.New(t))
			c.Env = append(c.Env, "SECRET=0")
			var shown func() string
			if where == "terminal" {
				shown = onTerminal(t, c).shown
			} else {
				var stdout, stderr buffer.Buffer
				ends := capture(t, c, &stdout, &stderr)
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				ends.started()
				shown = stdout.String
				t.Cleanup(func() { kill(t, c.Process.Pid, unix.SIGTERM); _ = c.Wait() })
			}
			few := 0
			for i := range 12 {
				line := fmt.Sprintf("<%d>", i)
				poll.Until(t, 10*time.Second, line, func() bool { return strings.Contains(shown(), line) })
				if i == 3 {
					few = files(c.Process.Pid)
				}
				if i < 11 {
					fifo.WriteLine(t, changes, fmt.Sprintf("SECRET=%d", i+1))
				}
			}
			many := 0
			if !poll.Within(10*time.Second, func() bool { many = files(c.Process.Pid); return many <= few }) {
				t.Errorf("%d files after 3 restarts, %d after 11", few, many)
			}
		})
	}
}

// TestSettle checks that a burst of changes causes one restart, with the last value.
func TestSettle(t *testing.T) {
	_, changes, wrote := changing(t, false, server, "-on-change", "restart", "-settle", "300ms")
	waitFor(t, wrote, "first")
	for _, value := range []string{"a", "b", "c", "last"} {
		fifo.WriteLine(t, changes, "SECRET="+value)
	}
	waitFor(t, wrote, "first", "stopped", "last")
	time.Sleep(400 * time.Millisecond)
	waitFor(t, wrote, "first", "stopped", "last")
}

// TestChangeAndBack checks that changes that settle to the command's current values cause no restart.
func TestChangeAndBack(t *testing.T) {
	_, changes, wrote := changing(t, false, server, "-on-change", "restart", "-settle", "200ms")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "stopped", "second")
	fifo.WriteLine(t, changes, "SECRET=other")
	fifo.WriteLine(t, changes, "SECRET=second")
	time.Sleep(400 * time.Millisecond)
	waitFor(t, wrote, "first", "stopped", "second")
}

// TestChangeWhileStopping checks that a change during a restart is included in that restart.
func TestChangeWhileStopping(t *testing.T) {
	slow := `trap 'echo stopping >> FILE; sleep 0.4; exit 0' TERM; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`
	_, changes, wrote := changing(t, false, slow, "-on-change", "restart")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "stopping")
	fifo.WriteLine(t, changes, "SECRET=third")
	waitFor(t, wrote, "first", "stopping", "third")
}

// TestTermWhileRestarting checks that no new command is started after TERM.
func TestTermWhileRestarting(t *testing.T) {
	slow := `trap 'echo stopping >> FILE; sleep 0.3; exit 4' TERM; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`
	c, changes, wrote := changing(t, false, slow, "-on-change", "restart")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "stopping")
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	if code := codeOf(c); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
	if got := strings.Join(wrote(), " "); strings.Contains(got, "second") {
		t.Errorf("a command was started while ending: %s", got)
	}
}

// TestKeysWhileRestarting checks that the signals of terminal keys end the supervisor even during a restart. Without a
// terminal, HUP does not, because services use it to reload their configuration.
func TestKeysWhileRestarting(t *testing.T) {
	slow := `trap 'echo stopping >> FILE; sleep 0.3; exit 4' TERM; trap '' INT QUIT HUP; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`
	for _, tt := range []struct {
		name string
		sig  unix.Signal
		ends bool
	}{{"INT", unix.SIGINT, true}, {"QUIT", unix.SIGQUIT, true}, {"HUP without a terminal", unix.SIGHUP, false}} {
		t.Run(tt.name, func(t *testing.T) {
			alone := func(c *exec.Cmd) { c.SysProcAttr.Setsid = true }
			c, changes, wrote := changingAs(t, false, alone, slow, "-on-change", "restart")
			waitFor(t, wrote, "first")
			fifo.WriteLine(t, changes, "SECRET=second")
			waitFor(t, wrote, "first", "stopping")
			kill(t, c.Process.Pid, tt.sig)
			if !tt.ends {
				waitFor(t, wrote, "first", "stopping", "second")
				return
			}
			_ = c.Wait()
			if code := codeOf(c); code != 4 {
				t.Errorf("exit code %d, want 4", code)
			}
			if got := strings.Join(wrote(), " "); got != "first stopping" {
				t.Errorf("a command was started while ending: %s", got)
			}
		})
	}
}

// TestLogWithoutReader checks that the command keeps running and can be restarted if the supervisor's log has no reader.
func TestLogWithoutReader(t *testing.T) {
	for _, way := range ways[2:] {
		t.Run(way.name, func(t *testing.T) {
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = read.Close()
			defer func() { _ = write.Close() }()
			_, changes, wrote := changingAs(t, way.pid1, func(c *exec.Cmd) { c.Stderr = write }, server, "-v", "-on-change", "restart")
			waitFor(t, wrote, "first")
			fifo.WriteLine(t, changes, "SECRET=second")
			waitFor(t, wrote, "first", "stopped", "second")
		})
	}
}

// TestRestartIfTermIsIgnored checks that a command that ignores TERM is replaced after the stop timeout.
func TestRestartIfTermIsIgnored(t *testing.T) {
	stubborn := `trap '' TERM; sleep 63 & echo "$SECRET" >> FILE; sleep 60`
	_, changes, wrote := changing(t, false, stubborn, "-on-change", "restart", "-stop-timeout", "200ms")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "second")
}

// TestCommandEndsBeforeTheRestart checks that a command that exits before a pending restart is not restarted, and that
// its exit code is returned.
func TestCommandEndsBeforeTheRestart(t *testing.T) {
	c, changes, wrote := changing(t, false, `echo "$SECRET" >> FILE; sleep 0.3; exit 6`, "-on-change", "restart", "-settle", "30s")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	_ = c.Wait()
	if code := codeOf(c); code != 6 {
		t.Errorf("exit code %d, want 6", code)
	}
}

func TestStopSignal(t *testing.T) {
	script := `trap 'echo hup >> FILE; exit 0' HUP; trap 'echo term >> FILE' TERM; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`
	c, changes, wrote := changing(t, false, script, "-on-change", "restart", "-stop-signal", "HUP")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "hup", "second")
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	waitFor(t, wrote, "first", "hup", "second", "hup")
}

func TestSignalOnChange(t *testing.T) {
	script := `trap 'echo usr1 >> FILE' USR1; echo "$SECRET" >> FILE; while :; do sleep 0.02; done`
	_, changes, wrote := changing(t, false, script, "-on-change", "signal=USR1")
	waitFor(t, wrote, "first")
	fifo.WriteLine(t, changes, "SECRET=second")
	waitFor(t, wrote, "first", "usr1")
	fifo.WriteLine(t, changes, "SECRET=second") // nothing new
	fifo.WriteLine(t, changes, "SECRET=third")
	waitFor(t, wrote, "first", "usr1", "usr1")
}

// TestMaskOnChange checks that after a change the new values are masked in the output of the command and its hook, and
// that the old ones stay masked, also after a restart.
func TestMaskOnChange(t *testing.T) {
	dir := t.TempDir()
	for _, how := range []string{"signal=USR1", "hook=echo in hook $SECRET; kill -USR1 $MIOSA_COMMAND_PID", "restart"} {
		t.Run(how, func(t *testing.T) {
			var out, errs buffer.Buffer
			told := filepath.Join(dir, "told")
			if err := os.WriteFile(told, []byte("second-value"), 0o600); err != nil {
				t.Fatal(err)
			}
			script := `read -r new < ` + told + `; trap 'echo got $new, had $SECRET' USR1; trap 'exit 0' TERM; echo "start $SECRET first-value"; while :; do sleep 0.02; done`
			capture := func(c *exec.Cmd) { c.Stdout, c.Stderr, c.Env = &out, &errs, append(c.Env, "SECRET=first-value") }
			_, changes, _ := changingAs(t, false, capture, script, "-mask", "SECRET=first-value", "-on-change", how)
			poll.Until(t, 10*time.Second, "the start", func() bool { return strings.Contains(out.String(), "start") })
			fifo.WriteLine(t, changes, "SECRET=second-value")
			want := "start [SECRET] [SECRET]\ngot [SECRET], had [SECRET]\n"
			if how == "restart" {
				want = "start [SECRET] [SECRET]\nstart [SECRET] [SECRET]\n"
			}
			poll.Until(t, 10*time.Second, "the change", func() bool { return strings.Count(out.String(), "\n") == 2 })
			if out.String() != want {
				t.Errorf("the command printed %q, want %q", out.String(), want)
			}
			if strings.HasPrefix(how, "hook") {
				poll.Until(t, 10*time.Second, "the hook's line", func() bool { return strings.Contains(errs.String(), "\n") })
				if errs.String() != "in hook [SECRET]\n" {
					t.Errorf("the hook printed %q", errs.String())
				}
			}
		})
	}
}

func TestHookOnChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hook")
	hook := `echo "$SECRET $MIOSA_COMMAND_PID" >> ` + file + `; [ "$SECRET" != bad ]`
	c, changes, wrote := changing(t, false, `echo "$SECRET" >> FILE; while :; do sleep 0.02; done`, "-on-change", "hook="+hook)
	waitFor(t, wrote, "first")
	hooked := func() []string { b, _ := os.ReadFile(file); return strings.Fields(string(b)) }
	fifo.WriteLine(t, changes, "SECRET=bad")
	poll.Until(t, 10*time.Second, "the hook", func() bool { return len(hooked()) == 2 })
	fifo.WriteLine(t, changes, "SECRET=good")
	poll.Until(t, 10*time.Second, "the hook again", func() bool { return len(hooked()) == 4 })
	if got := hooked(); got[0] != "bad" || got[2] != "good" || got[1] != got[3] {
		t.Errorf("the hook got %v", got)
	}
	if len(children(c.Process.Pid)) != 1 {
		t.Error("the hook still runs, or the command has ended")
	}
}
