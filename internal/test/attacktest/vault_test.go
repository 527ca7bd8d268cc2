package attacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// patience is far longer than any step takes.
const patience = time.Minute

// vault is a running miosa-vault serve.
type vault struct {
	program, dir string
	flags        []string // of serve, beside those that it always has
	process      *exec.Cmd
	log          buffer.Buffer
	target
}

// target is where a vault is reached.
type target struct {
	Addr string
	URL  string // ends in /api/v1
}

// start starts a vault with additional flags of serve. It ends with the test.
func start(t *testing.T, flags ...string) *vault {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{program: program, dir: t.TempDir(), flags: flags}
	root, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.rootKey(), []byte(root.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.serve(t, "127.0.0.1:0")
	t.Cleanup(func() {
		v.stop(syscall.SIGKILL)
		if t.Failed() {
			lines := strings.Split(strings.TrimSpace(v.log.String()), "\n")
			t.Logf("the end of the vault's log:\n%s", strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	return v
}

// serve starts the process, and waits until it serves.
func (v *vault) serve(t *testing.T, addr string) {
	t.Helper()
	v.process = exec.Command(v.program, append([]string{"serve", "--data-dir", v.data(), "--root-key-file", v.rootKey(),
		"--addr", addr, "--log-format", "json"}, v.flags...)...)
	v.process.Stderr = &v.log
	starts := v.serving()
	if err := v.process.Start(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, patience, "the vault serves", func() bool { return v.serving() > starts })
}

// serving returns how often the vault has said that it serves. It notes where.
func (v *vault) serving() (times int) {
	var line struct{ Message, Addr string }
	for l := range strings.Lines(v.log.String()) {
		if json.Unmarshal([]byte(l), &line) == nil && line.Message == "serving" {
			v.target = target{line.Addr, "http://" + line.Addr + "/api/v1"}
			times++
		}
	}
	return times
}

// stop ends the process with a signal.
func (v *vault) stop(signal syscall.Signal) {
	_ = v.process.Process.Signal(signal)
	_ = v.process.Wait()
}

func (v *vault) data() string    { return filepath.Join(v.dir, "data") }
func (v *vault) rootKey() string { return filepath.Join(v.dir, "root.key") }

// tenant returns a new key of a tenant, which is created unless it exists.
func (v *vault) tenant(t *testing.T, name string) client {
	t.Helper()
	out, err := exec.Command(v.program, "keys", "create", "--tenant", name, "--data-dir", v.data(), "--root-key-file", v.rootKey()).Output()
	if err != nil {
		t.Fatalf("keys create: %v", err)
	}
	key, err := api.ParseKey(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return client{target: v.target, Key: key.Reveal()}
}

// metric is the sum of a metric over its labels that contain label.
func (v *vault) metric(t *testing.T, name, label string) (sum float64) {
	t.Helper()
	_, text, err := client{target: v.target}.send("GET", "//metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		head, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, labels, _ := strings.Cut(head, "{"); base == name && strings.Contains(labels, label) {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// memory returns the highest resident memory of the vault since its start in bytes; 0 where there is no /proc.
func (v *vault) memory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.process.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// disk returns the size of the vault's data in bytes.
func (v *vault) disk(t *testing.T) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(v.data())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// put stores a secret and binds it to a sandbox, and returns the secret's id.
func put(t *testing.T, c client, name, value, sandbox string) string {
	t.Helper()
	var made struct{ Data api.Secret }
	c.must(t, "POST", "/egress/secrets", map[string]any{
		"name": name, "value": value, "resource_type": api.Sandbox, "resource_id": sandbox, "expose_as_env": name,
	}, &made)
	return made.Data.ID
}

// resourceKey returns a client with a new key of a sandbox.
func resourceKey(t *testing.T, c client, sandbox string) client {
	t.Helper()
	var made struct{ Data struct{ Key string } }
	c.must(t, "POST", "/egress/resource-keys", api.Resource{Type: api.Sandbox, ID: sandbox}, &made)
	return client{target: c.target, Key: made.Data.Key}
}

// must sends a request that must succeed. It waits as long as the vault demands.
func (c client) must(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	for {
		status, text, err := c.send(method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusTooManyRequests {
			<-time.After(time.Second)
			continue
		}
		if status/100 != 2 {
			t.Fatalf("%s %s: status %d: %s", method, path, status, text)
		}
		if answer != nil {
			if err := json.Unmarshal(text, answer); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

// needFiles skips the test unless a process may have n open files.
func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < n {
		needs.System(t, "%d open files in a process; the hard limit is %d", n, limit.Max)
	}
}
