package powertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

const (
	setName        = "set"
	agentStarts    = 4  // of the agent in a recording
	agentRotations = 10 // in each start
	restartEach    = 20 // of so many replays one starts the agent again
)

// agentFiles are the paths of an agent below a folder.
type agentFiles string

func (f agentFiles) env() string   { return filepath.Join(string(f), "run", "app.env") }
func (f agentFiles) files() string { return filepath.Join(string(f), "run", "files") }

// cacheDir is in a folder that the agent makes too.
func (f agentFiles) cacheDir() string { return filepath.Join(string(f), "state", "miosa-env") }
func (f agentFiles) cache() string    { return filepath.Join(f.cacheDir(), "sandbox-sb_1.cache") }

// agentWriter is an agent on a recorded disk. Its history has the versions of the secret A.
type agentWriter struct {
	agentFiles
	vault *vaulttest.Server
	key   api.Key
	other api.Key // another key of the same resource

	history
}

// runningAgent is a running miosa-env agent.
type runningAgent struct {
	process *exec.Cmd
	client  *socket.Client
	log     string // its path
}

func (r *runningAgent) stop(signal syscall.Signal) {
	_ = r.process.Process.Signal(signal)
	_ = r.process.Wait()
	r.client.Close()
}

// start starts an agent with a key whose files are below f. Its socket, configuration and log are in dir.
func (w *agentWriter) start(dir string, f agentFiles, key api.Key) (*runningAgent, error) {
	conf := fmt.Sprintf(`socket = %q
base_url = %q
key_file = %q
sandbox_id = %q
cache = true
cache_dir = %q
log_level = "debug"
`, filepath.Join(dir, "agent.sock"), w.vault.BaseURL, filepath.Join(dir, "key"), sandbox.ID, f.cacheDir())
	for path, format := range map[string]string{f.env(): "json", f.files(): "files"} {
		conf += fmt.Sprintf("[[output]]\npath = %q\nformat = %q\nkeep = true\nallow_disk = true\n", path, format)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	for name, text := range map[string]string{"key": key.Reveal(), "agent.toml": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	r := &runningAgent{log: log.Name()}
	r.process = exec.Command(filepath.Join(folder, "miosa-env"), "agent", "--config", filepath.Join(dir, "agent.toml"))
	r.process.Env = []string{"PATH=" + os.Getenv("PATH")}
	r.process.Stderr = log
	r.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	if !poll.Within(patience, func() bool { r.client, err = socket.Dial(filepath.Join(dir, "agent.sock")); return err == nil }) {
		_ = r.process.Process.Kill()
		_ = r.process.Wait()
		text, _ := os.ReadFile(r.log)
		return nil, fmt.Errorf("the agent doesn't start: %w\n%s", err, text)
	}
	return r, nil
}

// await waits until the agent's status is as done wants it.
func (r *runningAgent) await(t *testing.T, what string, done func(agent.Status) bool) error {
	var last agent.Status
	var err error
	if poll.Within(patience, func() bool {
		last, err = r.client.Status(t.Context())
		return err == nil && done(last)
	}) {
		return nil
	}
	text, _ := os.ReadFile(r.log)
	return fmt.Errorf("not within %s: %s: %+v, %w\n%s", patience, what, last, err, text[:min(len(text), 4000)])
}

// all reports whether all outputs are in a state.
func all(s agent.Status, state agent.OutputState) bool {
	return len(s.Outputs) == 2 && !slices.ContainsFunc(s.Outputs, func(o agent.OutputStatus) bool { return o.State != state })
}

// holds reports whether an agent has written a set to its outputs and its cache. before is the status before that set, or zero after a
// start.
func holds(s agent.Status, etag string, before agent.Status) bool {
	for i, o := range s.Outputs {
		if o.WrittenAt.IsZero() || len(before.Outputs) > 0 && o.Writes == before.Outputs[i].Writes {
			return false
		}
	}
	return s.State == agent.Fresh && s.Etag == etag && all(s, agent.Written) && s.Counts.CacheSaves > before.Counts.CacheSaves
}

func recordAgent(t *testing.T) (*agentWriter, recording) {
	t.Helper()
	program(t, "miosa-env")
	disk := mount(t)
	w := &agentWriter{agentFiles: agentFiles(disk.folder), vault: vaulttest.Start(t)}
	if err := os.Mkdir(disk.at("run"), 0o700); err != nil {
		t.Fatal(err)
	}
	disk.begin()
	var keyID string
	w.key, keyID = w.vault.MintResourceKey(t, sandbox)
	w.other = w.vault.ResourceKey(t, sandbox)
	secret := w.vault.Put(t, "A", valueOf("A", 1), sandbox, "A")
	w.vault.Put(t, "B", "constant", sandbox, "B")
	version := int64(1)
	w.add(event{setName, version, disk.position(), 0})
	dir := inMemory(t)
	for n := range agentStarts {
		running, err := w.start(dir, w.agentFiles, w.key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { running.stop(syscall.SIGKILL) })
		var before agent.Status
		for i := range agentRotations {
			if i > 0 {
				version++
				w.add(event{setName, version, disk.position(), 0})
				w.vault.Rotate(t, secret, valueOf("A", version))
			}
			set, err := reveal(t.Context(), w.vault.BaseURL, w.other)
			if err == nil {
				err = running.await(t, "the set is written", func(s agent.Status) bool { return holds(s, set.Etag, before) })
			}
			if err == nil {
				before, err = running.client.Status(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			w.add(event{setName, version, disk.position(), disk.position()})
		}
		switch {
		case n == agentStarts-1:
			w.add(event{setName, 0, disk.position(), 0})
			w.vault.Revoke(t, keyID)
			err := running.await(t, "the values are removed", func(s agent.Status) bool {
				text, _ := os.ReadFile(running.log)
				return s.State == agent.Refused && all(s, agent.Removed) && strings.Contains(string(text), "cache wiped")
			})
			if err != nil {
				t.Fatal(err)
			}
			w.add(event{setName, 0, disk.position(), disk.position()})
		case n%2 == 0:
			running.stop(syscall.SIGKILL)
		default:
			running.stop(syscall.SIGTERM)
		}
	}
	return w, disk.recording()
}

// version returns the version of a set of the vault.
func (w *agentWriter) version(values map[string]string) (int64, error) {
	for version := range int64(agentStarts*agentRotations + 1) {
		if values["A"] == valueOf("A", version) && values["B"] == "constant" && len(values) == 2 {
			return version, nil
		}
	}
	return 0, errors.New("not a set of the vault")
}

// compare compares the files in a folder with what the agent has acknowledged.
func (w *agentWriter) compare(folder string, crash int) error {
	f := agentFiles(folder)
	allowed := w.at(crash)[setName]
	if allowed == nil {
		allowed = []int64{0}
	}
	for what, read := range map[string]func() (map[string]string, error){"env file": f.readEnv, "files": f.readFiles, "cache": func() (map[string]string, error) { return f.readCache(w.key) }} {
		var version int64
		values, err := read()
		if err == nil {
			version, err = w.version(values)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err == nil && !slices.Contains(allowed, version) {
			err = fmt.Errorf("version %d, want one of %d", version, allowed)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func (f agentFiles) readEnv() (values map[string]string, err error) {
	text, err := os.ReadFile(f.env())
	if err == nil {
		err = json.Unmarshal(text, &values)
	}
	return values, err
}

func (f agentFiles) readFiles() (map[string]string, error) {
	values := map[string]string{}
	for _, name := range []string{"A", "B"} {
		text, err := os.ReadFile(filepath.Join(f.files(), name))
		if err != nil {
			return nil, err
		}
		values[name] = string(text)
	}
	return values, nil
}

func (f agentFiles) readCache(key api.Key) (map[string]string, error) {
	c, err := cache.New(cache.Config{Path: f.cache(), Key: key, Resource: sandbox})
	if err != nil {
		return nil, err
	}
	set, _, err := c.Load()
	if err != nil {
		return nil, err
	}
	defer set.Wipe()
	values := map[string]string{}
	for _, b := range set.Bound {
		values[b.ExposeAsEnv] = b.Value.Reveal()
	}
	return values, nil
}

// restart starts an agent with the files after a crash. It must write the present set, and remove what the crash has left.
func (w *agentWriter) restart(t *testing.T, f agentFiles) error {
	dir := inMemory(t)
	defer func() { _ = os.RemoveAll(dir) }()
	set, err := reveal(t.Context(), w.vault.BaseURL, w.other)
	if err != nil {
		return err
	}
	running, err := w.start(dir, f, w.other)
	if err != nil {
		return err
	}
	defer running.stop(syscall.SIGKILL)
	if err := running.await(t, "the set is written after a crash", func(s agent.Status) bool { return holds(s, set.Etag, agent.Status{}) }); err != nil {
		return err
	}
	for what, read := range map[string]func() (map[string]string, error){"env file": f.readEnv, "files": f.readFiles, "cache": func() (map[string]string, error) { return f.readCache(w.other) }} {
		values, err := read()
		if err == nil && values["A"] != set.Bound[0].Value.Reveal() {
			err = errors.New("another version")
		}
		if err != nil {
			return fmt.Errorf("%s after a restart: %w", what, err)
		}
	}
	for dir, want := range map[string]int{filepath.Dir(f.env()): 2, f.files(): 4} { // A, B, ..data and its directory
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != want {
			return fmt.Errorf("%s has %d files, want %d: %v, %w", dir, len(entries), want, entries, err)
		}
	}
	return nil
}

// After a loss of power at any moment, the agent's files have the set that it has acknowledged or a later one, whole.
func TestFault_V2_PowerLostByAgent(t *testing.T) {
	const perRecording = 1000
	count := replays(t) * 2 / 5
	for done := 0; done < count; done += perRecording {
		began := time.Now()
		w, made := recordAgent(t)
		t.Logf("recorded %d operations in %s", len(made.ops), time.Since(began))
		check := func(folder string, crash, number int) error {
			err := w.compare(folder, crash)
			if err == nil && number%restartEach == 0 {
				err = w.restart(t, agentFiles(folder))
			}
			return err
		}
		n := min(perRecording, count-done)
		if failed, err := made.replay(t, n, newSeed(), check); failed > 0 {
			t.Fatalf("%d of %d replays failed: %v", failed, n, err)
		}
		if done == 0 {
			made.controls(t, w.compare, []string{filepath.Base(w.env())}, []string{filepath.Base(w.cache())}, []string{"A"})
		}
	}
	t.Logf("%d replays", count)
}
