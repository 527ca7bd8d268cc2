package containertest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// agentUser is the user of the project's image.
const agentUser = 65532

// configure writes an agent's configuration and returns the flags that mount it and a key into a container.
func (s *fixture) configure(t *testing.T, more string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.toml")
	text := fmt.Sprintf("base_url = %q\nkey_file = \"/etc/miosa-env/key\"\nsandbox_id = %q\n%s", s.BaseURL, sandbox.ID, more)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{
		"--volume=" + path + ":/etc/miosa-env/agent.toml:ro",
		"--volume=" + s.keyFile(t, agentUser) + ":/etc/miosa-env/key:ro",
		"--volume=" + filepath.Join(s.dir, "your-app/app") + ":/app:ro",
	}
}

// within repeats a command in a container until it prints text.
func (c *container) within(t *testing.T, text string, args ...string) {
	t.Helper()
	var out string
	var err error
	if !poll.Within(patience, func() bool {
		out, err = c.do(append([]string{"exec", c.id}, args...)...)
		return err == nil && strings.Contains(out, text)
	}) {
		t.Fatalf("%v didn't print %q, but:\n%s\n%v\nthe container printed:\n%s", args, text, out, err, c.log(t))
	}
}

// wantMemory checks that the agent logs one of these kinds of memory.
func (c *container) wantMemory(t *testing.T, kinds ...string) {
	t.Helper()
	c.prints(t, "keeping values in memory memory=")
	_, kind, _ := strings.Cut(c.log(t), "keeping values in memory memory=")
	kind, _, _ = strings.Cut(kind, "\n")
	if !slices.Contains(kinds, kind) {
		t.Errorf("values are in memory=%s, want one of %v", kind, kinds)
	}
}

// The agent writes and updates its files on a tmpfs, in a container without other writable directories.
func TestAgentWritesOnTmpfs(t *testing.T) {
	s := newFixture(t)
	const path = "/run/miosa-env/app.env"
	args := append(s.configure(t, "[[output]]\npath = \""+path+"\"\nformat = \"docker\"\n"), restricted...)
	args = append(args, "--tmpfs=/run")
	s.run(t, nil, append(args, ours, "agent", "--check")...).wants(t, 0)
	c := s.start(t, nil, append(args, ours, "agent")...)
	c.within(t, "TOKEN "+sum(value), "/app", "file", path, "TOKEN")
	c.within(t, fmt.Sprintf("uid %d mode 0600 on tmpfs", agentUser), "/app", "file", path, "TOKEN")
	c.within(t, "fresh", "/miosa-env", "status")
	s.Rotate(t, s.secret, "canary-that-is-next")
	c.within(t, "TOKEN "+sum("canary-that-is-next"), "/app", "file", path, "TOKEN")
	if code, _ := c.stop(t, 30); code != "0" {
		t.Errorf("exit code %s, want 0", code)
	}
	c.wantMemory(t, "memfd_secret", "locked")
}

// One megabyte of locked memory is enough. Without any, the agent works and logs a warning.
func TestAgentsMemory(t *testing.T) {
	s := newFixture(t)
	for _, test := range []struct {
		name, memlock string
		kinds         []string
	}{
		{"a megabyte", "1048576", []string{"memfd_secret", "locked"}}, // depends on the kernel
		{"none", "0", []string{"unlocked"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(s.configure(t, ""), restricted...)
			// With one limit given, Podman ignores the configured ones.
			args = append(args, "--tmpfs=/run", "--ulimit=memlock="+test.memlock, "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
			c := s.start(t, nil, append(args, ours, "agent")...)
			c.within(t, "fresh", "/miosa-env", "status")
			c.wantMemory(t, test.kinds...)
		})
	}
}

// The agent in one container serves a command in another one, which has no key. They share a world-writable
// directory, as Kubernetes creates them.
func TestAgentBesideTheCommand(t *testing.T) {
	s := newFixture(t)
	const shared = "--volume=beside:/run/beside"
	s.must(t, "volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=mode=0777", "beside")
	socket := []string{"--env=MIOSA_SOCKET=/run/beside/miosa-env/agent.sock", shared}
	args := append(append(s.configure(t, ""), restricted...), socket...)
	agent := s.start(t, nil, append(args, ours, "agent")...)
	agent.within(t, "fresh", "/miosa-env", "status")

	args = append(append([]string{"--user=65532:65532", "--entrypoint", `["miosa-env","run","--on-change","restart","--"]`}, restricted...), socket...)
	command := s.start(t, nil, append(args, wrapped, "/app", "serve", "TOKEN")...)
	command.prints(t, "serving TOKEN "+sum(value))
	s.Rotate(t, s.secret, "canary-that-is-next")
	command.prints(t, "serving TOKEN "+sum("canary-that-is-next"))

	other := append(append([]string{"--user=4711:4711"}, restricted...), socket...)
	s.run(t, nil, append(other, wrapped)...).wants(t, 125, "miosa-env: error: ")

	// The agent refuses to write files to a world-writable directory.
	refused := append(append(s.configure(t, "[[output]]\npath = \"/run/beside/app.env\"\nformat = \"json\"\n"), restricted...), shared, "--tmpfs=/run")
	s.run(t, nil, append(refused, ours, "agent", "--check")...).wants(t, 125, "/run/beside has mode 0777")
}
