package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// A user who may not use the broker's socket is told who may.
func TestDeniedUser(t *testing.T) {
	needs.Root(t, "to be another user")
	const other = 65533
	dir, err := os.MkdirTemp("", "miosa-egress-test-") // in a directory that other users can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, open := range []string{dir, built} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &settings{}
	s.Socket = filepath.Join(dir, "egress.sock")
	socket, err := newBroker(zerolog.Nop()).listenStatus(s)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.close()
	for _, args := range [][]string{{"status"}, {"ca", "sandbox:sb_1"}} {
		command := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-egress"), append(args, "--socket", s.Socket)...)
		command.Dir = dir
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
		out, err := command.CombinedOutput()
		want := "can't be asked: connect: permission denied\n" +
			"miosa-egress: hint: root and the user that the broker runs as may use its socket: become one of them, with sudo\n"
		if err == nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("%s: %v, %s", args[0], err, out)
		}
	}
}
