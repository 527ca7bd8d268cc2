package containertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// fixture is a vault with a value bound to TOKEN, and what a container needs to reveal it.
type fixture struct {
	*vaulttest.Server
	*engine
	secret string // its id
	key    api.Key
	env    []string // contains the key
}

const value = "canary-of-a-container"

func newFixture(t *testing.T, o ...vaulttest.Option) *fixture {
	t.Helper()
	e := ready(t)
	s := &fixture{Server: vaulttest.Start(t, o...), engine: e}
	s.secret = s.Put(t, "token", value, sandbox, "TOKEN")
	s.key = s.ResourceKey(t, sandbox)
	s.env = append(s.open(), "MIOSA_API_KEY="+s.key.Reveal())
	return s
}

// open returns s.env without the key.
func (s *fixture) open() []string {
	return []string{"MIOSA_BASE_URL=" + s.BaseURL, "MIOSA_SANDBOX_ID=" + sandbox.ID, "MIOSA_TIMEOUT=30s"}
}

// keyFile creates a file with the key that only a user in a container can read.
func (s *fixture) keyFile(t *testing.T, uid int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(s.key.Reveal()+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
	return path
}

// A user's image with one more line gets the value as process 2 of its container, and its exit codes are kept.
func TestWrapped(t *testing.T) {
	s := newFixture(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		line string
	}{
		{"has the value", []string{"/app", "show", "TOKEN"}, 0, "TOKEN " + sum(value)},
		{"isn't root, and a child of process 1", nil, 0, "uid 1000 pid "},
		{"ends well", []string{"/app", "exit", "0"}, 0, ""},
		{"ends with 1", []string{"/app", "exit", "1"}, 1, ""},
		{"ends with 7", []string{"/app", "exit", "7"}, 7, ""},
		{"ends with 255", []string{"/app", "exit", "255"}, 255, ""},
		{"killed", []string{"/app", "die", "9"}, 137, ""},
		{"ended by TERM", []string{"/app", "die", "15"}, 143, ""},
		{"not there", []string{"/nothing"}, 127, "/nothing"},
		{"not a program", []string{"/proc/version"}, 126, "/proc/version"},
		{"looked up in PATH", []string{"miosa-env", "version"}, 0, "miosa-env"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.run(t, s.env, append([]string{wrapped}, test.args...)...).wants(t, test.code, test.line)
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		env := append(s.env[:0:0], s.env...)
		env[0], env[2] = "MIOSA_BASE_URL=http://127.0.0.1:1/api/v1", "MIOSA_TIMEOUT=1s"
		s.run(t, env, wrapped).wants(t, 125, "miosa-env: error: ")
	})
	t.Run("no key", func(t *testing.T) {
		s.run(t, s.open(), wrapped).wants(t, 125, "there is no key")
	})
}

// The signal of podman stop reaches the command, and the container exits with the command's code.
func TestStop(t *testing.T) {
	s := newFixture(t)
	for _, test := range []struct {
		name        string
		flags       []string // of run
		command     []string
		grace       int // timeout in seconds
		code        string
		least, most time.Duration
		log         string
	}{
		{"at once", nil, []string{"/app", "serve", "TOKEN"}, 30, "3", 0, 25 * time.Second, "got TERM"},
		{"takes its time", nil, []string{"/app", "drain", "2s"}, 30, "5", 2 * time.Second, 28 * time.Second, "drained"},
		{"longer than our patience", []string{"--stop-timeout", "1s"}, []string{"/app", "deaf"}, 30, "137", time.Second, 25 * time.Second, ""},
		{"longer than podman's", []string{"--stop-timeout", "1m"}, []string{"/app", "deaf"}, 3, "137", 3 * time.Second, 40 * time.Second, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := append(append([]string{"--entrypoint", `["miosa-env","run"]`, wrapped}, test.flags...), "--")
			c := s.start(t, s.env, append(args, test.command...)...)
			c.prints(t, "serving")
			code, took := c.stop(t, test.grace)
			if code != test.code {
				t.Errorf("exit code %s, want %s", code, test.code)
			}
			if took < test.least || took > test.most {
				t.Errorf("it took %v, want %v to %v", took, test.least, test.most)
			}
			if log := c.log(t); !strings.Contains(log, test.log) {
				t.Errorf("the container didn't print %q:\n%s", test.log, log)
			}
		})
	}
}

func TestOrphans(t *testing.T) {
	s := newFixture(t)
	const count = 20
	s.run(t, s.env, wrapped, "/app", "orphans", fmt.Sprint(count)).wants(t, 0, fmt.Sprintf("orphans %d still there 0\n", count))
}
