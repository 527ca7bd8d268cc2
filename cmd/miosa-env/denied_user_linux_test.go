package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// A user that the agent denies gets an error about that with a hint, and not one about a missing key.
func TestDeniedUser(t *testing.T) {
	needs.Root(t, "to be another user")
	const other = 65533
	s := vaulttest.Start(t)
	s.Put(t, "token", "the-value", sandbox, "TOKEN")
	key := s.ResourceKey(t, sandbox)
	dir, err := os.MkdirTemp("", "miosa-env-test-") // in a directory that other users can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, open := range []string{dir, built} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "agent.sock")
	d := runAgent(t, configured(s.BaseURL, key).with("MIOSA_LOG_LEVEL", "info"), "")
	d.write("agent.toml", "socket = \""+socket+"\"\n")
	if !poll.Within(time.Minute, func() bool { _, err := os.Stat(socket); return err == nil }) {
		t.Fatalf("no socket; the log:\n%s", d.log())
	}
	d.says("state=fresh")

	denied := `miosa-env: error: uid 65533 may not ask this agent`
	allow := `miosa-env: hint: have this user allowed with allow_users or allow_groups in the agent's configuration`
	asked := func(env []string, args ...string) (stdout, stderr string, code int) {
		command := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-env"), args...)
		command.Dir = dir
		command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "MIOSA_SOCKET=" + socket}, env...)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
		var out, problems bytes.Buffer
		command.Stdout, command.Stderr = &out, &problems
		if err := command.Run(); command.ProcessState == nil {
			t.Fatal(err)
		}
		return out.String(), problems.String(), command.ProcessState.ExitCode()
	}
	withKey := []string{"MIOSA_API_KEY=" + key.Reveal(), "MIOSA_SANDBOX_ID=" + sandbox.ID, "MIOSA_BASE_URL=" + s.BaseURL}
	for _, tt := range []struct {
		name  string
		args  []string
		env   []string
		code  int
		lines []string
	}{
		{"run", []string{"run", "--", "true"}, nil, 125, []string{denied, allow + ", or set MIOSA_API_KEY"}},
		{"run, named", []string{"run", "--sandbox", sandbox.ID, "--", "true"}, nil, 125, []string{denied, allow + ", or set MIOSA_API_KEY"}},
		{"get", []string{"get", "TOKEN"}, nil, 125, []string{denied, allow + ", or set MIOSA_API_KEY"}},
		{"list", []string{"list"}, nil, 125, []string{denied, allow + ", or set MIOSA_API_KEY"}},
		{"status", []string{"status"}, nil, 125, []string{denied, allow}},
		{"refresh", []string{"refresh"}, nil, 125, []string{denied, allow}},
		{"run with a key", []string{"run", "--", "true"}, withKey, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stderr, code := asked(tt.env, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			expect(t, stderr, tt.lines...)
			if tt.lines == nil && stderr != "" {
				t.Errorf("printed %q", stderr)
			}
		})
	}

	d.write("agent.toml", "socket = \""+socket+"\"\nallow_users = [\"65533\"]\n")
	if !poll.Within(time.Minute, func() bool { out, _, _ := asked(nil, "get", "TOKEN"); return out == "the-value\n" }) {
		t.Error("an allowed user does not get the value")
	}
}
