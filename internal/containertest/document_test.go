package containertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// block gives the first block of a language under a heading of docs/container.md.
func block(t *testing.T, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/container.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	match := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```").FindStringSubmatch(section)
	if !found || match == nil {
		t.Fatalf("docs/container.md has no %s block under %q", language, heading)
	}
	return match[1]
}

func TestDocumentSessionWorks(t *testing.T) {
	e := ready(t)
	rest, starts := strings.CutPrefix(block(t, "Try it", "sh"), "make build\nexport PATH=\"$PWD/bin:$PATH\"\n")
	if !starts {
		t.Fatal("the session doesn't start with make build")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-eu")
	shell.Dir = root
	shell.Env = append(e.environ(), "TMPDIR="+t.TempDir())
	shell.Env[0] += ":" + filepath.Join(e.dir, "stage/out") // where its make build went
	shell.Stdin = strings.NewReader(rest)
	// A group of its own, so that a session that breaks off leaves no vault behind.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) }
	shell.WaitDelay = 10 * time.Second
	out, err := shell.CombinedOutput()
	_ = shell.Cancel() // there is nobody left where it went well
	if err != nil {
		t.Errorf("the session ended with %v", err)
	}
	for line := range strings.Lines(block(t, "Try it", "text")) {
		if !strings.Contains(string(out), strings.TrimSuffix(line, "\n")) {
			t.Errorf("the session didn't print %q", line)
		}
	}
	if n := strings.Count(string(out), "the app has an-example-token"); n != 2 {
		t.Errorf("the app had its value %d times, want 2: once with a read-only root", n)
	}
	if t.Failed() {
		t.Logf("it printed:\n%s", api.RedactKeys(string(out)))
	}
}

// The commands that stay are taken from the document too, with the vault, the names of files and the app of the test.
func TestDocumentCommandsWork(t *testing.T) {
	s := newStage(t)
	dir := t.TempDir()
	config := block(t, "Files", "toml") // whose resource and key are those of this test
	if err := os.WriteFile(filepath.Join(dir, "agent.toml"), []byte("base_url = \""+s.BaseURL+"\"\n"+config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(s.keyFile(t, agentUser), filepath.Join(dir, "sb_1.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "sb_1.key"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "sb_1.key"), agentUser, agentUser); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, heading string
		old, new      string // in the document's command
		log           string
	}{
		{"run it", "Run it", " your-app-with-secrets\n", " -e MIOSA_BASE_URL " + wrapped + " /app serve TOKEN\n", "serving TOKEN " + sum(value)},
		{"files", "Files", "", "", "output written"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := strings.Replace(block(t, test.heading, "sh"), "podman run ", "podman run --detach ", 1)
			if !strings.Contains(command, test.old) {
				t.Fatalf("the command doesn't say %q", test.old)
			}
			command = strings.Replace(command, test.old, test.new, 1)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			shell := exec.CommandContext(ctx, "sh", "-euc", command)
			shell.Dir, shell.Env, shell.WaitDelay = dir, s.environ("MIOSA_BASE_URL="+s.BaseURL), 5*time.Second
			shell.Stderr = os.Stderr
			id, err := shell.Output()
			if err != nil {
				t.Fatal(err)
			}
			c := &container{s.engine, strings.TrimSpace(string(id))}
			t.Cleanup(func() {
				if _, err := s.do("rm", "--force", "--time=0", c.id); err != nil {
					t.Error(err)
				}
			})
			c.prints(t, test.log)
		})
	}
}
