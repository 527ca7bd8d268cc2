package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// cmdTerminal runs a program on a new terminal, controlled by a file: "sees TEXT" waits until the screen shows
// TEXT after what was seen before; "types TEXT" types it, in the syntax of a Go string; "user allows" opens the
// link on the screen; "size COLUMNS ROWS" comes first, if at all. It writes the screen's output to the file
// screen. At the end the terminal's modes must be unchanged.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal CODE DIALOGUE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	master, tty, err := pty.Open()
	ts.Check(err)
	defer func() { _ = tty.Close() }()
	size := pty.Winsize{Cols: 100, Rows: 50}
	steps := strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")
	if words := strings.Fields(steps[0]); words[0] == "size" && len(words) == 3 {
		columns, err1 := strconv.ParseUint(words[1], 10, 16)
		rows, err2 := strconv.ParseUint(words[2], 10, 16)
		ts.Check(errors.Join(err1, err2))
		size = pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}
		steps = steps[1:]
	}
	ts.Check(pty.Setsize(master, &size))
	before, err := term.GetState(int(tty.Fd()))
	ts.Check(err)

	s := ts.Value(vaultKey{}).(*scriptVault)
	program := args[2]
	if program == "miosa-env" {
		program = filepath.Join(built, program)
	}
	c := exec.Command(program, args[3:]...)
	c.Dir, c.Env = ts.MkAbs("."), append(s.variables(ts), "TERM=xterm")
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(c.Start())
	screen := watchScreen(master)
	defer func() { _ = c.Process.Kill(); _ = c.Wait(); _ = tty.Close(); _ = master.Close(); <-screen.closed }()

	seen := 0
	for _, step := range steps {
		verb, text, _ := strings.Cut(step, " ")
		switch verb {
		case "sees":
			if !poll.Within(time.Minute, func() bool { return strings.Contains(screen.text()[seen:], text) }) {
				ts.Fatalf("the screen does not show %q:\n%s", text, screen.text())
			}
			seen += strings.Index(screen.text()[seen:], text) + len(text)
		case "types":
			keys, err := strconv.Unquote(`"` + text + `"`)
			ts.Check(err)
			_, err = master.WriteString(keys)
			ts.Check(err)
		case "user":
			ts.Check(s.consent(text, strings.ReplaceAll(screen.text(), "\r\n", "\n")))
		default:
			ts.Fatalf("unknown step: %s", step)
		}
	}
	timer := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	_ = c.Wait() // the exit code is compared
	timer.Stop()
	after, err := term.GetState(int(tty.Fd()))
	ts.Check(err)
	_ = poll.Within(time.Minute, func() bool { n, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCOUTQ); return err != nil || n == 0 })
	_ = tty.Close()
	<-screen.closed
	ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(strings.ReplaceAll(screen.text(), "\r\n", "\n")), 0o600))
	if got := codeOf(c.ProcessState); got != want {
		ts.Fatalf("exit code %d, want %d:\n%s", got, want, screen.text())
	}
	if diff := cmp.Diff(after, before, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		ts.Fatalf("the terminal's modes have changed (-got +want):\n%s", diff)
	}
}

// screenText is the output of a terminal.
type screenText struct {
	mu     sync.Mutex
	all    bytes.Buffer // guarded by mu
	closed chan struct{}
}

func (s *screenText) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func watchScreen(master *os.File) *screenText {
	s := &screenText{closed: make(chan struct{})}
	go func() {
		defer close(s.closed)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			s.mu.Lock()
			s.all.Write(b[:n])
			s.mu.Unlock()
			if err != nil { // also when no process has the terminal open
				return
			}
		}
	}()
	return s
}
