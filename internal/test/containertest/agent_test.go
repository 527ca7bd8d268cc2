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

// agentUser is the user of our image.
const agentUser = 65532

// configure writes an agent's configuration, and gives the flags that bring it and a key into a container.
func (s *stage) configure(t *testing.T, more string) []string {
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

// within repeats a call in a container until it prints the text.
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

// kept wants the agent to say that values are in one of these kinds of memory.
func (c *container) kept(t *testing.T, kinds ...string) {
	t.Helper()
	c.prints(t, "keeping values in memory memory=")
	_, kind, _ := strings.Cut(c.log(t), "keeping values in memory memory=")
	kind, _, _ = strings.Cut(kind, "\n")
	if !slices.Contains(kinds, kind) {
		t.Errorf("values are in memory=%s, want one of %v", kind, kinds)
	}
}

// The agent writes its files on a tmpfs of a container that has nothing else to write to, and keeps them fresh.
func TestAgentWritesOnTmpfs(t *testing.T) {
	s := newStage(t)
	const path = "/run/miosa-env/app.env"
	args := append(s.configure(t, "[[output]]\npath = \""+path+"\"\nformat = \"docker\"\n"), tight...)
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
	c.kept(t, "memfd_secret", "locked")
}

// A megabyte of locked memory is enough. Where there is none at all the agent works on, and says so.
func TestAgentsMemory(t *testing.T) {
	s := newStage(t)
	for _, test := range []struct {
		name, memlock string
		kinds         []string
	}{
		{"a megabyte", "1048576", []string{"memfd_secret", "locked"}}, // as the kernel has it
		{"none", "0", []string{"unlocked"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(s.configure(t, ""), tight...)
			// Podman takes none of its configured limits where one is given.
			args = append(args, "--tmpfs=/run", "--ulimit=memlock="+test.memlock, "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
			c := s.start(t, nil, append(args, ours, "agent")...)
			c.within(t, "fresh", "/miosa-env", "status")
			c.kept(t, test.kinds...)
		})
	}
}

// The agent in one container serves the command in another, which has no key. They share a directory that
// everybody may write to, as Kubernetes makes them.
func TestAgentBesideTheCommand(t *testing.T) {
	s := newStage(t)
	const shared = "--volume=beside:/run/beside"
	s.must(t, "volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=mode=0777", "beside")
	socket := []string{"--env=MIOSA_SOCKET=/run/beside/miosa-env/agent.sock", shared}
	args := append(append(s.configure(t, ""), tight...), socket...)
	agent := s.start(t, nil, append(args, ours, "agent")...)
	agent.within(t, "fresh", "/miosa-env", "status")

	args = append(append([]string{"--user=65532:65532", "--entrypoint", `["miosa-env","run","--on-change","restart","--"]`}, tight...), socket...)
	command := s.start(t, nil, append(args, wrapped, "/app", "serve", "TOKEN")...)
	command.prints(t, "serving TOKEN "+sum(value))
	s.Rotate(t, s.secret, "canary-that-is-next")
	command.prints(t, "serving TOKEN "+sum("canary-that-is-next"))

	other := append(append([]string{"--user=4711:4711"}, tight...), socket...)
	s.run(t, nil, append(other, wrapped)...).wants(t, 125, "miosa-env: error: ")

	// What everybody may write to is no place for files of the agent's.
	refused := append(append(s.configure(t, "[[output]]\npath = \"/run/beside/app.env\"\nformat = \"json\"\n"), tight...), shared, "--tmpfs=/run")
	s.run(t, nil, append(refused, ours, "agent", "--check")...).wants(t, 125, "/run/beside has mode 0777")
}
