package supervise_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// screen is the user's side of a terminal on which a program runs.
type screen struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	text bytes.Buffer // mu guards it
}

// onTerminal starts c as the leader of a session on a new terminal.
func onTerminal(t *testing.T, c *exec.Cmd) *screen {
	t.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	master, err := pty.StartWithAttrs(c, &pty.Winsize{Rows: 24, Cols: 80}, c.SysProcAttr)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master, cmd: c}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			s.mu.Lock()
			s.text.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = master.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s", s.shown())
		}
	})
	return s
}

func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// expect waits until text has been shown count times.
func (s *screen) expect(text string, count int) {
	s.t.Helper()
	poll.Until(s.t, 10*time.Second, fmt.Sprintf("%q %d times on the screen", text, count), func() bool {
		return strings.Count(s.shown(), text) >= count
	})
}

// ends waits until the program has exited.
func (s *screen) ends() {
	s.t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.cmd.Wait() }()
	poll.Until(s.t, 10*time.Second, "the program's end", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}

func (s *screen) typed(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) resize(rows, cols uint16) {
	s.t.Helper()
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		s.t.Fatal(err)
	}
}

// onScreen lists the ways to supervise a command on a terminal.
var onScreen = []struct {
	name  string
	flags []string
}{
	{"plain", nil},
	{"masked", []string{"-mask", "TOKEN=hunter2hunter2"}},
}

// interactive reports each signal from a key, and answers each line that it reads. A duplicate signal would show up
// before the answer.
const interactive = `
	trap 'echo got-INT' INT
	trap 'echo got-QUIT' QUIT
	trap 'echo got-WINCH $(stty size)' WINCH
	echo ready
	while :; do
		if read line; then
			echo "line <$line>"
			[ "$line" = end ] && exit 12
		else
			[ $? -gt 128 ] || exit 13 # the terminal is gone
		fi
	done`

func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			s := onTerminal(t, under(t, "supervise", false, append(way.flags, "bash", "-c", interactive)...))
			s.expect("ready", 1)
			for i := 1; i <= 3; i++ {
				s.typed("\x03x\n") // bash may run the trap after its read only
				s.expect("line <x>", i)
				s.expect("got-INT", i)
				s.typed("\x1cy\n")
				s.expect("line <y>", i)
				s.expect("got-QUIT", i)
				s.typed("z\n")
				s.expect("line <z>", i)
				if got := strings.Count(s.shown(), "got-INT"); got != i {
					t.Fatalf("%d keys, %d signals", i, got)
				}
				if got := strings.Count(s.shown(), "got-QUIT"); got != i {
					t.Fatalf("%d keys, %d signals", i, got)
				}
			}
			s.typed("end\n")
			_ = s.cmd.Wait()
			if code := codeOf(s.cmd); code != 12 {
				t.Errorf("exit code %d, want 12", code)
			}
		})
	}
}

func TestWindowSize(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			s := onTerminal(t, under(t, "supervise", false, append(way.flags, "bash", "-c", "stty size; "+interactive)...))
			s.expect("24 80", 1)
			s.expect("ready", 1)
			s.resize(50, 132)
			poll.Until(t, 10*time.Second, "the signal", func() bool {
				s.typed("x\n") // bash runs the trap when its read ends
				return strings.Contains(s.shown(), "got-WINCH 50 132")
			})
			s.typed("y\n")
			s.expect("line <y>", 1)
			if got := strings.Count(s.shown(), "got-WINCH"); got != 1 {
				t.Errorf("%d signals for one change of size", got)
			}
		})
	}
}

// TestStopKeyUnderAShell uses a real shell with job control: it stops the command, types at the prompt and continues
// the command in the foreground, twice, then checks the exit code.
func TestStopKeyUnderAShell(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			c := exec.Command("bash", "--norc", "--noprofile", "-i")
			self := under(t, "supervise", false)
			c.Env = append(os.Environ(), "PS1=prompt> ", "HISTFILE=", "TERM=dumb")
			s := onTerminal(t, c)
			s.expect("prompt> ", 1)
			run := fmt.Sprintf("%s=supervise %s %s sh -c 'echo be''gun; while read l; do echo \"line <$l>\"; [ \"$l\" = end ] && exit 12; done'\n",
				playAs, self.Path, strings.Join(way.flags, " "))
			s.typed(run)
			s.expect("begun", 1)
			s.typed("one\n")
			s.expect("line <one>", 1)
			for i := 1; i <= 2; i++ {
				s.typed("\x1a")
				s.expect("Stopped", i)
				s.typed("echo shell-$((40+" + fmt.Sprint(i) + "))\n")
				s.expect(fmt.Sprintf("shell-%d", 40+i), 1)
				s.typed("fg\n")
				s.typed(fmt.Sprintf("again%d\n", i))
				s.expect(fmt.Sprintf("line <again%d>", i), 1)
			}
			s.typed("end\n")
			s.expect("prompt> ", 6) // earlier input goes to the command's terminal
			s.typed("echo code-$?-\n")
			s.expect("code-12-", 1)
		})
	}
}

// TestForegroundComesBack checks that after the command exits, a second command and the shell can read the terminal.
func TestForegroundComesBack(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			self := under(t, "supervise", false)
			c := exec.Command("sh", "-c", fmt.Sprintf(
				`for i in 1 2; do echo "go $i"; %s=supervise %s %s sh -c 'read l; echo "line <$l>"'; done; echo shell; read l; echo "own <$l>"`,
				playAs, self.Path, strings.Join(way.flags, " ")))
			c.Env = os.Environ()
			s := onTerminal(t, c)
			s.expect("go 1", 1)
			s.typed("a\n")
			s.expect("line <a>", 1)
			s.expect("go 2", 1)
			s.typed("b\n")
			s.expect("line <b>", 1)
			s.expect("shell", 1)
			s.typed("c\n")
			s.expect("own <c>", 1)
		})
	}
}

// TestPipelineKeepsTheTerminal checks that a pager after the supervisor in a pipeline reads the keys.
func TestPipelineKeepsTheTerminal(t *testing.T) {
	needs.Command(t, "bash")
	self := under(t, "supervise", false)
	c := exec.Command("bash", "--norc", "--noprofile", "-i")
	c.Env = append(os.Environ(), "PS1=prompt> ", "HISTFILE=", "TERM=dumb")
	s := onTerminal(t, c)
	s.expect("prompt> ", 1)
	s.typed(fmt.Sprintf("%s=supervise %s sh -c 'echo from''-command; sleep 0.2' | sh -c 'read c; echo pager-has \"$c\"; read k </dev/tty; echo \"key <$k>\"'\n", playAs, self.Path))
	s.expect("pager-has from-command", 1)
	s.typed("q\n")
	s.expect("key <q>", 1)
	// A command in a pipeline that reads the terminal gets it.
	s.typed(fmt.Sprintf("%s=supervise %s sh -c 'read k; echo \"command <$k>\"' | cat\n", playAs, self.Path))
	s.typed("z\n")
	s.expect("command <z>", 1)
	s.typed("echo done-$?-\n")
	s.expect("done-0-", 1)
}

// TestRestartOnATerminal checks that the command is in the foreground after a restart too.
func TestRestartOnATerminal(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			changes := fifo.New(t)
			flags := append([]string{"-on-change", "restart", "-changes", changes}, way.flags...)
			c := under(t, "supervise", false, append(flags, "bash", "-c", `echo "<$SECRET>"; read l; echo "line <$l>"; read l`)...)
			c.Env = append(c.Env, "SECRET=first")
			s := onTerminal(t, c)
			s.expect("<first>", 1)
			s.typed("a\n")
			s.expect("line <a>", 1)
			fifo.WriteLine(t, changes, "SECRET=later") // too short to be masked
			s.expect("<later>", 1)
			s.typed("b\n")
			s.expect("line <b>", 1)
		})
	}
}

func TestMaskedOutput(t *testing.T) {
	const secret = "hunter2hunter2"
	script := `printf 'a %s b' "` + secret + `"; printf hunter2; printf 'hunter2\n' >&2; [ -t 1 ] && echo tty; [ -t 0 ] && stty size; exit 3`
	t.Run("pipe", func(t *testing.T) {
		c := under(t, "supervise", false, "-mask", "TOKEN="+secret, "sh", "-c", script)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out // one pipe for both, which keeps the order
		if code := status(t, c); code != 3 {
			t.Errorf("exit code %d, want 3", code)
		}
		if got, want := out.String(), "a [TOKEN] b[TOKEN]\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		s := onTerminal(t, under(t, "supervise", false, "-mask", "TOKEN="+secret, "sh", "-c", script))
		_ = s.cmd.Wait()
		if code := codeOf(s.cmd); code != 3 {
			t.Errorf("exit code %d, want 3", code)
		}
		s.expect("a [TOKEN] b[TOKEN]\r\ntty\r\n24 80\r\n", 1)
		if strings.Contains(s.shown(), "hunter") {
			t.Error("not masked")
		}
	})
	t.Run("terminal for output only", func(t *testing.T) {
		c := under(t, "supervise", false, "-mask", "TOKEN="+secret, "sh", "-c", script)
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		c.Stdin = null
		c.Args = append([]string{"sh", "-c", `exec "$0" "$@" < /dev/null`, c.Path}, c.Args[1:]...)
		c.Path, c.Stdin = "/bin/sh", nil
		s := onTerminal(t, c)
		_ = s.cmd.Wait()
		s.expect("a [TOKEN] b[TOKEN]\r\ntty\r\n", 1)
	})
}

// TestMaskedTerminalIsRestored checks that the terminal modes after a masked command are those before it.
func TestMaskedTerminalIsRestored(t *testing.T) {
	self := under(t, "supervise", false)
	c := exec.Command("sh", "-c", fmt.Sprintf(`stty -a > "$F.1"; %s=supervise %s -mask TOKEN=hunter2hunter2 sh -c 'stty raw; exit 1'; stty -a > "$F.2"; echo end`, playAs, self.Path))
	file := t.TempDir() + "/stty"
	c.Env = append(os.Environ(), "F="+file)
	s := onTerminal(t, c)
	s.expect("end", 1)
	before, err1 := os.ReadFile(file + ".1")
	after, err2 := os.ReadFile(file + ".2")
	if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
		t.Errorf("(-before +after)\n-%s\n+%s", before, after)
	}
}

// TestMaskedGrandchildHoldsTheOutput checks that the supervisor does not wait for a process that the command leaves
// running and that holds its output.
func TestMaskedGrandchildHoldsTheOutput(t *testing.T) {
	c := under(t, "supervise", false, "-mask", "TOKEN=hunter2hunter2", "sh", "-c", "sleep 64 & echo $!; exit 0")
	left := startTelling(t, c)
	ended := make(chan struct{})
	go func() { _, _ = c.Process.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the supervisor waited for a grandchild")
	}
	kill(t, left, unix.SIGKILL)
}

// TestMaskedBrokenPipe checks that a masked command gets SIGPIPE when the reader of its output has gone, as it would
// unmasked.
func TestMaskedBrokenPipe(t *testing.T) {
	c := under(t, "supervise", false, "-mask", "TOKEN=hunter2hunter2", "yes")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 10))
	_ = out.Close()
	_ = c.Wait()
	if code := codeOf(c); code != 128+13 {
		t.Errorf("exit code %d, want 141", code)
	}
}

// TestMaskedLargeOutput checks that no output written just before the end is lost, on a pipe and on a terminal.
func TestMaskedLargeOutput(t *testing.T) {
	const lines = 20000
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "line $i hunter2hunter2 of many"; i=$((i+1)); done`, lines)
	c := under(t, "supervise", false, "-mask", "TOKEN=hunter2hunter2", "sh", "-c", script)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(out, []byte("[TOKEN]")); got != lines || !bytes.HasSuffix(out, []byte("19999 [TOKEN] of many\n")) {
		t.Errorf("%d lines, want %d", got, lines)
	}
	s := onTerminal(t, under(t, "supervise", false, "-mask", "TOKEN=hunter2hunter2", "sh", "-c", script))
	_ = s.cmd.Wait()
	s.expect("19999 [TOKEN] of many\r\n", 1)
	if got := strings.Count(s.shown(), "[TOKEN]"); got != lines {
		t.Errorf("%d lines on the terminal, want %d", got, lines)
	}
}

// TestMaskedPromptIsShown checks that a prompt whose end could start a value is shown while the command waits for
// input.
func TestMaskedPromptIsShown(t *testing.T) {
	s := onTerminal(t, under(t, "supervise", false, "-mask", "TOKEN=Pass-word-1", "sh", "-c", "printf 'Code: Pa'; read l; echo \"line <$l>\""))
	s.expect("Code: Pa", 1)
	s.typed("x\n")
	s.expect("line <x>", 1)
}
