package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"golang.org/x/sys/unix"
)

// shellOn starts an interactive bash on a terminal. run returns the line to type to run a command under a supervisor.
func shellOn(t *testing.T, flags []string) (s *screen, run func(command string) string) {
	t.Helper()
	needs.Command(t, "bash")
	c := exec.Command("bash", "--norc", "--noprofile", "-i")
	c.Env = append(os.Environ(), "PS1=prompt> ", "HISTFILE=", "TERM=dumb")
	s = onTerminal(t, c)
	s.expect("prompt> ", 1)
	self := under(t, "supervise", false).Path
	return s, func(command string) string {
		return fmt.Sprintf("%s=supervise %s %s %s", playAs, self, strings.Join(flags, " "), command)
	}
}

// TestBackgroundJobUsesTheTerminal checks that a background job that reads the terminal is stopped, also for the
// shell, and that fg continues it.
func TestBackgroundJobUsesTheTerminal(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			s, run := shellOn(t, way.flags)
			s.typed(run(`sh -c 'while read x; do echo "line <$x>"; done' &`) + "\n")
			poll.Until(t, 10*time.Second, "a stopped job", func() bool {
				s.typed("jobs\n")
				return strings.Contains(s.shown(), "Stopped")
			})
			s.typed("fg\n")
			s.typed("typed\n")
			s.expect("line <typed>", 1)
			before := strings.Count(s.shown(), "Stopped")
			s.typed("\x1a")
			s.expect("Stopped", before+1)
			s.typed("fg\nagain\n")
			s.expect("line <again>", 1)
			prompts := strings.Count(s.shown(), "prompt> ")
			s.typed("\x03")
			s.expect("prompt> ", prompts+1) // earlier input is flushed by the key
			s.typed("echo code-$?-\n")
			s.expect("code-130-", 1)
		})
	}
}

// TestBackgroundJobModes checks that a job started in the background, while the shell reads a line with modes of its own, has
// the terminal's usual modes in the foreground, also after a restart.
func TestBackgroundJobModes(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			changes := fifo.New(t)
			s, run := shellOn(t, append([]string{"-on-change", "restart", "-changes", changes}, way.flags...))
			s.typed(run(`sh -c 'sleep 0.3; printf "%s\n" re""ady; read x; printf "<%s>\n" "$(stty -a | tr -s "; \n" " ")"; exec sleep 60' &`) + "\n")
			poll.Until(t, 10*time.Second, "a stopped job", func() bool {
				s.typed("jobs\n")
				return strings.Contains(s.shown(), "Stopped")
			})
			s.typed("fg\n")
			for i := 1; i <= 2; i++ {
				s.expect("ready", i)
				s.typed("typed\n")
				s.expect(" >\r\n", i)
				for _, mode := range []string{" icanon ", " echo ", " icrnl "} {
					if strings.Count(s.shown(), mode) != i {
						t.Errorf("run %d isn't in mode%s", i, mode)
					}
				}
				fifo.WriteLine(t, changes, "AGAIN=1")
			}
		})
	}
}

// TestForegroundContinuesOnce checks that the shell's fg causes one CONT in the command. A second one would undo a stop
// key pressed in between.
func TestForegroundContinuesOnce(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			s, run := shellOn(t, way.flags)
			s.typed(run(`bash -c 'trap "echo got-C""ONT" CONT; echo be""gun; while :; do read -t 1 l && echo "line <$l>"; done'`) + "\n")
			s.expect("begun", 1)
			for i := 1; i <= 3; i++ {
				s.typed("\x1a")
				s.expect("Stopped", i)
				s.typed("fg\n")
				s.expect("got-CONT", i)
				s.typed(fmt.Sprintf("again%d\n", i))
				s.expect(fmt.Sprintf("line <again%d>", i), 1)
			}
			if got := strings.Count(s.shown(), "got-CONT"); got != 3 {
				t.Errorf("%d CONT signals for 3 times fg", got)
			}
		})
	}
}

// TestCommandSubstitutionUsesTheTerminal checks that a command in a command substitution can read the terminal, and
// that the shell can use it afterwards. There, bash ignores TTIN and TTOU and keeps the foreground.
func TestCommandSubstitutionUsesTheTerminal(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			s, run := shellOn(t, way.flags)
			s.typed(`x=$(` + run(`sh -c 'echo be""gun >/dev/tty; read x </dev/tty; echo "read <$x>"'`) + `); echo "[$x]"` + "\n")
			s.expect("begun", 1)
			s.typed("typed\n")
			s.expect("[read <typed>]", 1)
			s.typed("echo sh\"\"ell\n")
			s.expect("shell", 1)
		})
	}
}

// TestCtrlCEndsTheScript checks whether a terminal key also ends the script that started the supervisor: only if the
// command dies of INT.
func TestCtrlCEndsTheScript(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		for _, tc := range []struct {
			name, key, command string
			signal             syscall.Signal // that kills the script; 0: it continues
		}{
			{"dies of INT", "\x03", `sh -c 'echo begun; exec sleep 60'`, unix.SIGINT},
			{"has read the terminal", "\x03", `sh -c 'echo first; read x; echo begun; exec sleep 60'`, unix.SIGINT},
			{"handles it", "\x03", `sh -c 'trap "exit 0" INT; echo begun; while :; do sleep 0.02; done'`, 0},
			{"QUIT ends the command alone", "\x1c", `sh -c 'echo begun; exec sleep 60'`, 0},
		} {
			t.Run(way.name+", "+tc.name, func(t *testing.T) {
				self := under(t, "supervise", false).Path
				run := fmt.Sprintf("%s=supervise %s %s %s", playAs, self, strings.Join(way.flags, " "), tc.command)
				c := exec.Command("bash", "--norc", "-c", run+"; echo code-$?-; echo script goes on")
				c.Env = append(os.Environ(), "TERM=dumb")
				s := onTerminal(t, c)
				if strings.Contains(tc.command, "read x") {
					s.expect("first", 1)
					s.typed("x\n")
				}
				s.expect("begun", 1)
				s.typed(tc.key)
				s.ends()
				status := c.ProcessState.Sys().(syscall.WaitStatus)
				if tc.signal != 0 && (!status.Signaled() || status.Signal() != tc.signal) {
					t.Errorf("the script ended with %v, want signal %v", status, tc.signal)
				}
				if tc.signal == 0 {
					s.expect("script goes on", 1)
				} else if strings.Contains(s.shown(), "script goes on") {
					t.Error("the script continued")
				}
			})
		}
	}
}

// TestCtrlCWhileRestarting checks that no command is started after Ctrl-C during a restart, also if the old command has the
// foreground and handles INT. Both get it once.
func TestCtrlCWhileRestarting(t *testing.T) {
	for _, way := range onScreen {
		for _, script := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, script %v", way.name, script), func(t *testing.T) {
				changes := fifo.New(t)
				s, run := shellOn(t, append([]string{"-on-change", "restart", "-changes", changes}, way.flags...))
				line := run(`sh -c 'trap "echo stop""ping" TERM; trap "echo got-I""NT; exit 0" INT; echo be""gun; read x; echo us""ed; while :; do sleep 0.02; done'`)
				if script {
					line = "bash --norc -c " + quote(line+"; :")
				}
				s.typed(line + "\n")
				s.expect("begun", 1)
				s.typed("\n")
				s.expect("used", 1) // the command has used the terminal
				fifo.WriteLine(t, changes, "SECRET=second")
				s.expect("stopping", 1)
				prompts := strings.Count(s.shown(), "prompt> ")
				s.typed("\x03")
				s.expect("prompt> ", prompts+1)
				if began, interrupted := strings.Count(s.shown(), "begun"), strings.Count(s.shown(), "got-INT"); began != 1 || interrupted != 1 {
					t.Errorf("the command was started %d times and got INT %d times", began, interrupted)
				}
			})
		}
	}
}

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// TestScriptGetsItsOwnSignal checks that the script that started the supervisor and a command that handles INT each get
// the INT of a key once.
func TestScriptGetsItsOwnSignal(t *testing.T) {
	needs.Command(t, "bash")
	self := under(t, "supervise", false).Path
	c := exec.Command("bash", "--norc", "-c", fmt.Sprintf(`trap 'echo script-INT' INT
		%s=supervise %s sh -c 'trap "echo command-INT; exit 5" INT; echo begun; while :; do sleep 0.02; done'; echo code-$?-`, playAs, self))
	c.Env = append(os.Environ(), "TERM=dumb")
	s := onTerminal(t, c)
	s.expect("begun", 1)
	s.typed("\x03")
	s.expect("code-5-", 1)
	for _, text := range []string{"command-INT", "script-INT"} {
		if got := strings.Count(s.shown(), text); got != 1 {
			t.Errorf("%s %d times", text, got)
		}
	}
}

// TestDeathOfInterrupt checks that the supervisor dies of INT and QUIT if the command does, without a core dump. For
// another signal, or as PID 1, it exits with 128+n.
func TestDeathOfInterrupt(t *testing.T) {
	for _, tc := range []struct {
		sig  syscall.Signal
		pid1 bool
		want string
	}{
		{unix.SIGINT, false, "signal 2"},
		{unix.SIGQUIT, false, "signal 3"},
		{unix.SIGTERM, false, "exit 143"},
		{unix.SIGINT, true, "exit 130"},
	} {
		t.Run(fmt.Sprintf("%v, as process 1: %v", tc.sig, tc.pid1), func(t *testing.T) {
			c := under(t, "supervise", tc.pid1, "sh", "-c", fmt.Sprintf("ulimit -c unlimited; kill -%d $$; sleep 60", tc.sig))
			c.Dir = t.TempDir()
			_ = c.Run()
			status := c.ProcessState.Sys().(syscall.WaitStatus)
			got := fmt.Sprintf("exit %d", status.ExitStatus())
			if status.Signaled() {
				got = fmt.Sprintf("signal %d", status.Signal())
			}
			if got != tc.want {
				t.Errorf("ended with %s, want %s", got, tc.want)
			}
			if status.CoreDump() {
				t.Error("there is a core file")
			}
		})
	}
}

// TestRestartResetsTerminalModes checks that a restart resets the terminal to the modes at the supervisor's start.
func TestRestartResetsTerminalModes(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			changes := fifo.New(t)
			flags := append([]string{"-on-change", "restart", "-changes", changes}, way.flags...)
			script := `[ "$AGAIN" ] || stty raw -echo -isig; echo "<$(stty -a | tr -s '; \n' ' ')>"; exec sleep 60`
			s := onTerminal(t, under(t, "supervise", false, append(flags, "sh", "-c", script)...))
			s.expect(" -icanon ", 1)
			fifo.WriteLine(t, changes, "AGAIN=1")
			s.expect(" icanon ", 1)
			for _, mode := range []string{" echo ", " isig ", " opost ", " icrnl "} {
				if !strings.Contains(s.shown(), mode) {
					t.Errorf("after the restart the terminal isn't in mode%s", mode)
				}
			}
		})
	}
}
