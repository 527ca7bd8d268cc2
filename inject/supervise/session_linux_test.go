package supervise_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
)

// stopsItself handles the stop key as editors and pagers do: it catches the signal, then stops itself.
const stopsItself = `
	trap 'trap - TSTP; kill -TSTP $$; echo continued' TSTP
	exec 3<> "$1"
	echo begun
	while :; do read -t 0.05 -u 3; done # without a child, which the key would stop too`

// TestStopKeyThatACommandHandles checks that a command that catches the stop key and then stops itself is stopped for
// the shell too, and that fg continues it.
func TestStopKeyThatACommandHandles(t *testing.T) {
	needs.Command(t, "bash")
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte(stopsItself), 0o600); err != nil {
				t.Fatal(err)
			}
			s, run := shellOn(t, way.flags)
			s.typed(run("bash "+script+" "+fifo.New(t)) + "\n")
			s.expect("begun", 1)
			s.typed("\x1a")
			s.expect("Stopped", 1)
			s.expect("prompt> ", 2) // the first was there before the command
			s.typed("echo shell-$((40+2))\n")
			s.expect("shell-42", 1)
			s.expect("prompt> ", 3)
			s.typed("fg\n")
			s.expect("continued", 1)
			s.typed("\x03")
			s.expect("prompt> ", 4) // earlier input goes to the command's terminal
			s.typed("echo code-$?-\n")
			s.expect("code-130-", 1)
		})
	}
}

// TestKeysAtEndOfPipeline checks that a command whose standard input is a pipe can read keys from the terminal, through
// /dev/tty, standard error or standard output.
func TestKeysAtEndOfPipeline(t *testing.T) {
	for _, way := range onScreen {
		for _, tc := range []struct{ name, command string }{
			{"by its name", `read k < /dev/tty; echo "key <$k>"`},
			{"from standard error", `read k <&2; echo "key <$k>"`},
			{"from standard output, raw", `exec 3<&1; stty raw -echo <&3; k=$(dd bs=1 count=1 <&3 2>/dev/null); stty sane <&3; echo "key <$k>"`},
		} {
			t.Run(way.name+", "+tc.name, func(t *testing.T) {
				if way.name == "plain" && strings.Contains(tc.name, "standard") {
					return // the real terminal may have been opened for writing only
				}
				s, run := shellOn(t, way.flags)
				s.typed("echo fi''rst | " + run(fmt.Sprintf(`sh -c 'read l; echo "piped $l"; %s'`, tc.command)) + "\n")
				s.expect("piped first", 1)
				s.typed("q\n")
				s.expect("key <q>", 1)
				s.expect("prompt> ", 2) // earlier input belongs to the command and is lost
				s.typed("echo code-$?-\n")
				s.expect("code-0-", 1)
			})
		}
	}
}

// TestPagerInPipelineKeepsKeys checks that in a pipeline a pager reads the keys, even if the masked command before it
// has the terminal as standard error.
func TestPagerInPipelineKeepsKeys(t *testing.T) {
	s, run := shellOn(t, []string{"-mask", masking})
	s.typed(run(`sh -c 'echo from''-command; sleep 60'`) + ` | sh -c 'read c; echo pager-has "$c"; read k </dev/tty; echo "key <$k>"; exec kill 0'` + "\n")
	s.expect("pager-has from-command", 1)
	s.typed("q\n")
	s.expect("key <q>", 1)
}

// TestTypedAhead checks that input typed before the supervisor starts, including an end of file, reaches the command
// and is echoed once.
func TestTypedAhead(t *testing.T) {
	for _, way := range onScreen {
		t.Run(way.name, func(t *testing.T) {
			gate := fifo.New(t)
			self := under(t, "supervise", false).Path
			c := exec.Command("sh", "-c", fmt.Sprintf(`echo ready; read x < "$0"; exec env %s=supervise %s %s sh -c 'while read l; do echo "line <$l>"; done; echo end of file; read l; echo "last <$l>"'`,
				playAs, self, strings.Join(way.flags, " ")), gate)
			c.Env = os.Environ()
			s := onTerminal(t, c)
			s.expect("ready", 1)
			s.typed("one\ntw\x7fwo\n\x04")
			s.expect("\b \bwo", 1) // echoed while typed
			fifo.WriteLine(t, gate, "go")
			s.expect("end of file", 1)
			s.typed("three\n")
			s.expect("last <three>", 1)
			s.ends()
			for _, line := range []string{"line <one>", "line <two>"} {
				if got := strings.Count(s.shown(), line); got != 1 {
					t.Errorf("%s %d times", line, got)
				}
			}
			if got := strings.Count(strings.ReplaceAll(s.shown(), "line <one>", ""), "one"); got != 1 {
				t.Errorf("input echoed %d times", got)
			}
		})
	}
}

// TestMaskedTerminalOfTheDescendants checks that a process that a masked command leaves behind on a terminal keeps
// running and can print, masked, also to its controlling terminal.
func TestMaskedTerminalOfTheDescendants(t *testing.T) {
	for name, to := range map[string]string{"standard output": "&1", "terminal": "/dev/tty"} {
		t.Run(name, func(t *testing.T) {
			gate := fifo.New(t)
			self := under(t, "supervise", false).Path
			c := exec.Command("sh", "-c", fmt.Sprintf(`%s=supervise %s -mask %s sh -c '(read x < "$0"; echo late hunter2hunter2 >%s) & echo early' "$0"; echo code $?; sleep 60`,
				playAs, self, masking, to), gate)
			c.Env = os.Environ()
			s := onTerminal(t, c)
			s.expect("code 0\r\n", 1)
			s.expect("early\r\n", 1)
			fifo.WriteLine(t, gate, "go")
			s.expect("late [TOKEN]\r\n", 1)
		})
	}
}

// TestMaskedKeysOfEveryKind checks that 64 KiB of keys, with every byte value, reach a masked command unchanged.
func TestMaskedKeysOfEveryKind(t *testing.T) {
	var keys strings.Builder
	for i := range 64 << 10 {
		keys.WriteByte(byte(i * 7))
	}
	s := onTerminal(t, under(t, "supervise", false, "-mask", masking, "sh", "-c",
		fmt.Sprintf(`stty raw -echo; echo ready; head -c %d | cksum; stty sane; echo end`, keys.Len())))
	s.expect("ready", 1)
	s.typed(keys.String())
	s.expect("end", 1)
	sum := exec.Command("cksum")
	sum.Stdin = strings.NewReader(keys.String())
	want, err := sum.Output()
	if err != nil {
		t.Fatal(err)
	}
	s.expect(strings.TrimSpace(string(want)), 1)
}
