package containertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

// block returns the first block of a language under a heading of docs/container.md.
func block(t *testing.T, heading, language string) string {
	t.Helper()
	return document.Read(t, root+"/docs/container.md").Block(t, heading, language)
}

func TestDocumentSessionWorks(t *testing.T) {
	e := ready(t)
	rest, starts := strings.CutPrefix(block(t, "Try it", "sh"), "make build\nexport PATH=\"$PWD/bin:$PATH\"\n")
	if !starts {
		t.Fatal("the session doesn't start with make build")
	}
	s := document.Session{Script: rest, Dir: root, Env: append(e.environ(), "TMPDIR="+t.TempDir()), Limit: 2 * patience}
	s.Env[0] += ":" + filepath.Join(e.dir, "stage/out") // contains the output of its make build
	out := s.Run(t)
	document.Prints(t, out, block(t, "Try it", "text"))
	if n := strings.Count(out, "the app has an-example-token"); n != 2 {
		t.Errorf("the app had its value %d times, want 2: once with a read-only root", n)
	}
}

// The document's long-running commands, with the test's vault, file names and app.
func TestDocumentCommandsWork(t *testing.T) {
	s := newFixture(t)
	dir := t.TempDir()
	config := block(t, "Files", "toml") // its resource and key are those of this test
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
