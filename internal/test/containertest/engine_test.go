package containertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// root is the repository, relative to this package's folder.
const root = "../../.."

// patience is the limit for steps that should take seconds.
const patience = time.Minute

// engine is podman with its own storage, settings and images.
type engine struct {
	dir  string // contains everything, and bin, which comes first in PATH
	real string // the installed podman
}

// prepared creates the engine and its images, once for all tests.
var prepared = sync.OnceValues(prepare)

func TestMain(m *testing.M) {
	if os.Args[0] == "/app" {
		os.Exit(runApp(os.Args[1:]))
	}
	code := m.Run()
	if folder != "" {
		(&engine{dir: folder}).remove()
	}
	os.Exit(code)
}

// folder is the engine's folder, if it exists, even after a failed preparation.
var folder string

// ready returns the engine, or skips the test if this machine cannot run it.
func ready(t *testing.T) *engine {
	t.Helper()
	needs.Root(t, "to run containers")
	needs.Command(t, "podman", "runc", "busybox", "make", "ldd")
	e, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func prepare() (*engine, error) {
	dir, err := os.MkdirTemp("", "containertest-")
	if err != nil {
		return nil, err
	}
	folder = dir
	e := &engine{dir: dir}
	if e.real, err = exec.LookPath("podman"); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		// Containers use the machine's network, because the vault is on loopback, and low limits.
		"containers.conf": fmt.Sprintf(`[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = %q
`, filepath.Join(dir, "tmp")),
		"storage.conf": fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "root"), filepath.Join(dir, "run")),
		// Images are not pulled.
		"registries.conf": "unqualified-search-registries = []\n",
		"policy.json":     `{"default": [{"type": "insecureAcceptAnything"}]}`,
		// The document's commands run unchanged. The Dockerfile stage that needs the network is replaced by a folder
		// with its results.
		"bin/podman": fmt.Sprintf("#!/bin/sh\ncase $1 in build) shift; set -- build --signature-policy %s --build-context build=%s \"$@\" ;; esac\nexec %s \"$@\"\n",
			filepath.Join(dir, "policy.json"), filepath.Join(dir, "stage"), e.real),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return nil, err
		}
	}
	return e, e.buildImages()
}

// environ returns the environment of podman and of its callers.
func (e *engine) environ(more ...string) []string {
	return append([]string{
		"PATH=" + filepath.Join(e.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + e.dir, "TMPDIR=" + os.TempDir(),
		"CONTAINERS_CONF=" + filepath.Join(e.dir, "containers.conf"),
		"CONTAINERS_STORAGE_CONF=" + filepath.Join(e.dir, "storage.conf"),
		"CONTAINERS_REGISTRIES_CONF=" + filepath.Join(e.dir, "registries.conf"),
	}, more...)
}

// command returns a podman command that is killed after patience.
func (e *engine) command(ctx context.Context, env []string, args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	c := exec.CommandContext(ctx, filepath.Join(e.dir, "bin/podman"), args...)
	c.Dir, c.Env, c.WaitDelay = root, e.environ(env...), 5*time.Second
	return c, cancel
}

// do runs podman and returns its output. The error contains its stderr.
func (e *engine) do(args ...string) (string, error) {
	c, cancel := e.command(context.Background(), nil, args...)
	defer cancel()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("podman %s: %w\n%s", args[0], err, api.RedactKeys(stderr.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// must is like do and fails the test on errors.
func (e *engine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.do(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// remove ends what still runs and removes all files.
func (e *engine) remove() {
	if _, err := os.Stat(filepath.Join(e.dir, "bin/podman")); err == nil {
		if _, err := e.do("rm", "--all", "--force", "--time=0", "--volumes"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		if _, err := e.do("volume", "rm", "--all", "--force"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := os.RemoveAll(e.dir); err != nil {
		fmt.Fprintln(os.Stderr, "containertest:", err)
	}
}

// outcome is the result of a container that has ended.
type outcome struct {
	code        int
	out, stderr string
}

// run runs a container to its end, with the variables of env.
func (e *engine) run(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	args = append([]string{"run", "--rm", "--pull=never"}, args...)
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		args = append(args[:1], append([]string{"--env", name}, args[1:]...)...)
	}
	c, cancel := e.command(t.Context(), env, args...)
	defer cancel()
	var out, stderr bytes.Buffer
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return outcome{c.ProcessState.ExitCode(), out.String(), api.RedactKeys(stderr.String())}
}

// wants fails the test unless the container ended with a code and printed these lines.
func (o outcome) wants(t *testing.T, code int, lines ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, line := range lines {
		if !strings.Contains(o.out+o.stderr, line) {
			t.Errorf("it didn't print %q", line)
		}
	}
	if t.Failed() {
		t.Logf("it printed:\n%s%s", api.RedactKeys(o.out), o.stderr)
	}
}

// container is a running container.
type container struct {
	*engine
	id string
}

// start starts a container that is removed when the test ends.
func (e *engine) start(t *testing.T, env []string, args ...string) *container {
	t.Helper()
	args = append([]string{"run", "--detach", "--pull=never"}, args...)
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		args = append(args[:1], append([]string{"--env", name}, args[1:]...)...)
	}
	c, cancel := e.command(t.Context(), env, args...)
	defer cancel()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("podman run: %v\n%s", err, api.RedactKeys(stderr.String()))
	}
	k := &container{e, strings.TrimSpace(string(out))}
	t.Cleanup(func() {
		if _, err := e.do("rm", "--force", "--time=0", k.id); err != nil {
			t.Error(err)
		}
	})
	return k
}

// log returns the container's output so far.
func (c *container) log(t *testing.T) string {
	t.Helper()
	k, cancel := c.command(context.Background(), nil, "logs", c.id)
	defer cancel()
	out, err := k.CombinedOutput()
	if err != nil {
		t.Fatalf("podman logs: %v\n%s", err, api.RedactKeys(string(out)))
	}
	return api.RedactKeys(string(out))
}

// prints waits for a text in the container's output.
func (c *container) prints(t *testing.T, text string) {
	t.Helper()
	var log string
	if !poll.Within(patience, func() bool { log = c.log(t); return strings.Contains(log, text) }) {
		t.Fatalf("the container didn't print %q:\n%s", text, log[max(0, len(log)-2000):])
	}
}

// stop runs podman stop with a timeout in seconds and returns the exit code and the duration.
func (c *container) stop(t *testing.T, grace int) (code string, took time.Duration) {
	t.Helper()
	began := time.Now()
	c.must(t, "stop", fmt.Sprint("--time=", grace), c.id)
	took = time.Since(began)
	return c.must(t, "inspect", "--format={{.State.ExitCode}}", c.id), took
}

// copyFile copies an executable.
func copyFile(from, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
