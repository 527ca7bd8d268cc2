package output_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/fifo"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// logged is the log of an output.
type logged struct{ buffer.Buffer }

// lines returns what hooks printed, and the other messages of the log.
func (l *logged) lines(t *testing.T) (lines, messages []string) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var entry struct{ Message, Line, Status string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if entry.Message == "hook" {
			lines = append(lines, entry.Line)
		} else {
			messages = append(messages, strings.TrimSpace(entry.Message+" "+entry.Status))
		}
	}
	return lines, messages
}

func (l *logged) done(t *testing.T, count int, message string) {
	t.Helper()
	poll.Until(t, 10*time.Second, message, func() bool { return strings.Count(l.String(), `"`+message+`"`) == count })
}

func TestOutputHook(t *testing.T) {
	t.Setenv("MIOSA_API_KEY", "canary")
	t.Setenv("NOTIFY_SOCKET", "/nonexistent")
	t.Setenv("PLAIN", "plain")
	log := &logged{}
	dir := inMemory(t)
	o := newOutput(t, "systemd", dir+"/out", func(c *output.Config) {
		c.Log = zerolog.New(log)
		c.Hook = `cat "$MIOSA_OUTPUT"; echo "$PLAIN $MIOSA_API_KEY$NOTIFY_SOCKET$A." >&2; pwd; printf 'no end'`
	})
	write(t, o, "A", "short", "B", "canary-7b21")
	log.done(t, 1, "hook done")
	lines, messages := log.lines(t)
	if diff := cmp.Diff(lines, []string{`A="short"`, `B="[B]"`, "plain .", "/", "no end"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(messages, []string{"output written", "running hook", "hook done"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	// No hook runs if nothing changes, or if the change cannot be written.
	write(t, o, "A", "short", "B", "canary-7b21")
	if err := o.Write(snapshot("LD_PRELOAD", "x")); err == nil {
		t.Error("no error")
	}
	write(t, o, "A", "other", "B", "canary-7b21")
	log.done(t, 2, "hook done")
	if err := o.Remove(); err != nil {
		t.Fatal(err)
	}
	o.Close()
	if lines, _ := log.lines(t); len(lines) != 10 {
		t.Errorf("%d lines", len(lines))
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("a value or a key is in the log: %s", log)
	}
}

func TestOutputHookFails(t *testing.T) {
	for _, tt := range []struct {
		name, hook string
		want       []string
		lines      []string
	}{
		{"exits", "echo oh; exit 3", []string{"hook failed exit status 3"}, []string{"oh"}},
		{"is killed", "kill -9 $$", []string{"hook failed signal: killed"}, nil},
		{"doesn't exist", "no-such-command", []string{"hook failed exit status 127"}, nil},
		{"takes too long", "echo begun; exec sleep 1000", []string{"hook timed out: killed"}, []string{"begun"}},
		{"leaves a process running", "sleep 30 & echo left", []string{"hook done"}, []string{"left"}},
		{"leaves a process running that prints", "yes & true", []string{"hook output too long: rest omitted", "hook done"}, slices.Repeat([]string{"y"}, 999)},
		{"prints a long line", "head -c 5000 /dev/zero | tr '\\0' x; echo; echo short", []string{"hook output line too long: omitted", "hook done"}, []string{"short"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &logged{}
			o := newOutput(t, "docker", inMemory(t)+"/out", func(c *output.Config) {
				c.Log, c.Hook, c.HookTimeout = zerolog.New(log), tt.hook, 3*time.Second
			})
			write(t, o, "A", "1")
			poll.Until(t, 10*time.Second, "an end", func() bool { _, messages := log.lines(t); return len(messages) == 2+len(tt.want) })
			lines, messages := log.lines(t)
			if diff := cmp.Diff(messages[2:], tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if tt.name != "doesn't exist" { // the message is the shell's
				if diff := cmp.Diff(lines, tt.lines); diff != "" {
					t.Errorf("(-got +want):\n%s", diff)
				}
			}
		})
	}
}

// TestOutputHookGroup checks that a hook that exceeds its timeout, or still runs when its output is closed, is killed
// with all processes that it started.
func TestOutputHookGroup(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"timeout": time.Second, "close": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := inMemory(t)
			log := &logged{}
			o := newOutput(t, "docker", dir+"/out", func(c *output.Config) {
				c.Log, c.HookTimeout = zerolog.New(log), timeout
				c.Hook = `trap '' TERM; sh -c 'trap "" TERM; sleep 1000' & echo $! > ` + dir + `/pid.new; mv ` + dir + `/pid.new ` + dir + `/pid; wait`
			})
			write(t, o, "A", "1")
			var pid int
			poll.Until(t, 10*time.Second, "a process of the hook's", func() bool {
				text, err := os.ReadFile(dir + "/pid")
				pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
				return err == nil
			})
			if name == "close" {
				o.Close()
				log.done(t, 1, "hook killed: its output is closed")
			}
			poll.Until(t, 10*time.Second, "its end", func() bool {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return err != nil || bytes.Contains(stat, []byte(") Z"))
			})
		})
	}
}

// TestOutputHookOnce checks that any number of changes during a hook cause one more run, which reads the last set.
func TestOutputHookOnce(t *testing.T) {
	dir := inMemory(t)
	log := &logged{}
	gate := fifo.New(t)
	o := newOutput(t, "docker", dir+"/out", func(c *output.Config) {
		c.Log = zerolog.New(log)
		c.Hook = `cat "$MIOSA_OUTPUT"; read -r line < ` + gate
	})
	write(t, o, "A", "0")
	poll.Until(t, 10*time.Second, "the first hook", func() bool { lines, _ := log.lines(t); return len(lines) == 1 })
	began := time.Now()
	for i := range 5 {
		write(t, o, "A", fmt.Sprint(i+1))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Write waits for the hook: %v", took)
	}
	fifo.WriteLine(t, gate, "go")
	poll.Until(t, 10*time.Second, "the second hook", func() bool { lines, _ := log.lines(t); return len(lines) == 2 })
	fifo.WriteLine(t, gate, "go")
	log.done(t, 2, "hook done")
	if lines, _ := log.lines(t); !cmp.Equal(lines, []string{"A=0", "A=5"}) {
		t.Errorf("%q", lines)
	}
}

// TestOutputHookMasked checks that values and lines of values are masked in what a hook prints, also if they touch or
// overlap.
func TestOutputHookMasked(t *testing.T) {
	for _, tt := range []struct{ name, prints, want string }{
		{"within", "x canary-1 y", "x [A] y"},
		{"twice", "canary-1canary-1", "[A][A]"},
		{"the longer one", "canary-123", "[B]"},
		{"one that overlaps another", "xcanary-1234567x", "x[B]x"},
		{"a line of several", "-----canary-----", "[PEM]"},
		{"another line of it", "<line two>", "<[PEM]>"},
		{"a line with other indentation", "    indented", "    [YAML]"},
		{"a line of a value with escaped line breaks", "<second-part>", "<[KEY]>"},
		{"a line of CRLF", "windows-1 windows-2", "[CRLF] [CRLF]"},
		{"none", "canar canary-2 line on", "canar canary-2 line on"},
		{"after other text", "é canary-1", "é [A]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &logged{}
			dir := inMemory(t)
			if err := os.WriteFile(dir+"/prints", []byte(tt.prints), 0o600); err != nil {
				t.Fatal(err)
			}
			o := newOutput(t, "systemd", dir+"/out", func(c *output.Config) { c.Log, c.Hook = zerolog.New(log), "cat "+dir+"/prints" })
			write(t, o, "A", "canary-1", "B", "canary-123", "C", "-1234567", "PEM", "-----canary-----\nline two\nx\n", "SHORT", "can", "EMPTY", "",
				"YAML", "k:\n  indented\n", "KEY", `first-part\nsecond-part\n`, "CRLF", "windows-1\r\nwindows-2\r\n")
			log.done(t, 1, "hook done")
			if lines, _ := log.lines(t); !cmp.Equal(lines, []string{tt.want}) {
				t.Errorf("got %q, want %q", lines, tt.want)
			}
		})
	}
}

// TestOutputHookMaskedAsSpelled checks that values are masked in what a hook prints also as the output's format escapes
// them.
func TestOutputHookMaskedAsSpelled(t *testing.T) {
	const value = `canary "it's" \ $HOME`
	for format, want := range map[string][]string{
		"json": {"{", `  "A": "[A]"`, "}"}, "systemd": {`A="[A]"`}, "shell": {"export A='[A]'"}, "docker": {"A=[A]"}, "files": {"[A]"},
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			log := &logged{}
			o := newOutput(t, format, inMemory(t)+"/out", func(c *output.Config) {
				c.Log, c.Hook = zerolog.New(log), `cat "$MIOSA_OUTPUT" 2>/dev/null || cat "$MIOSA_OUTPUT"/*`
			})
			write(t, o, "A", value)
			log.done(t, 1, "hook done")
			if lines, _ := log.lines(t); !cmp.Equal(lines, want) {
				t.Error("not masked, or not as wanted")
			}
		})
	}
}

// TestOutputHookMaskedWhileItChanges checks that the old and the new values are masked in what a hook prints during a
// change, because it may have read either.
func TestOutputHookMaskedWhileItChanges(t *testing.T) {
	dir := inMemory(t)
	log := &logged{}
	gate := fifo.New(t)
	o := newOutput(t, "docker", dir+"/out", func(c *output.Config) {
		c.Log = zerolog.New(log)
		c.Hook = `old=$(cat "$MIOSA_OUTPUT"); echo begun; read -r line < ` + gate + `; echo "$old"; cat "$MIOSA_OUTPUT"`
	})
	write(t, o, "A", "canary-old")
	poll.Until(t, 10*time.Second, "the first hook", func() bool { lines, _ := log.lines(t); return len(lines) == 1 })
	write(t, o, "A", "canary-new")
	fifo.WriteLine(t, gate, "go")
	poll.Until(t, 10*time.Second, "the second hook", func() bool { lines, _ := log.lines(t); return len(lines) == 4 })
	fifo.WriteLine(t, gate, "go")
	log.done(t, 2, "hook done")
	if lines, _ := log.lines(t); !cmp.Equal(lines, []string{"begun", "A=[A]", "A=[A]", "begun", "A=[A]", "A=[A]"}) {
		t.Error("not masked, or not as wanted")
	}
}
