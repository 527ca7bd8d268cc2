package powertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
)

// patience is far longer than any step takes.
const patience = time.Minute

const (
	tenantName = "acme"
	starts     = 4  // of the vault in a recording
	rotations  = 12 // by each rotator in each start
	rotators   = 3
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// valueOf is the value of a secret's version, some of them several pages long.
func valueOf(name string, version int64) string {
	return fmt.Sprintf("%s %d %s", name, version, strings.Repeat("v", int(version%4)*3000))
}

// vaultFiles are the paths of a vault below a folder.
type vaultFiles string

func (f vaultFiles) rootKey() string { return filepath.Join(string(f), "keys", "root.key") }

// data is in a folder that the vault makes too.
func (f vaultFiles) data() string { return filepath.Join(string(f), "lib", "vault") }

func (f vaultFiles) flags() []string {
	return []string{"--data-dir", f.data(), "--root-key-file", f.rootKey()}
}

// run runs a command of miosa-vault and returns its standard output.
func (f vaultFiles) run(args ...string) (string, error) {
	c := exec.Command(filepath.Join(folder, "miosa-vault"), args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("miosa-vault %s: %w: %s", strings.Join(args[:2], " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// server is a running miosa-vault serve.
type server struct {
	process *exec.Cmd
	url     string // ends in /api/v1
	log     bytes.Buffer
}

func (f vaultFiles) serve() (*server, error) {
	s := &server{process: exec.Command(filepath.Join(folder, "miosa-vault"), append([]string{"serve",
		"--addr", "127.0.0.1:0", "--log-format", "json", "--limit", "key_requests=1e6,key_burst=1e6,tenant_requests=1e6,tenant_burst=1e6",
		"--limit", "requests=1e6,tenant_writes=1e6,writes=1e6,tenant_events=1e6,events=1e6"}, f.flags()...)...)}
	log, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.process.Stderr = w
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = s.process.Start()
	_ = w.Close()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	var line struct{ Message, Addr string }
	for lines := json.NewDecoder(io.TeeReader(log, &s.log)); line.Message != "serving"; {
		if err := lines.Decode(&line); err != nil {
			rest, _ := io.ReadAll(log)
			_ = s.process.Wait()
			return nil, fmt.Errorf("the vault doesn't start: %s%s", &s.log, rest)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log); _ = log.Close() }()
	s.url = "http://" + line.Addr + "/api/v1"
	return s, nil
}

func (s *server) stop(signal syscall.Signal) {
	_ = s.process.Process.Signal(signal)
	_ = s.process.Wait()
}

// send sends one request without retries. acked is 0 unless it has succeeded; answer may be nil.
func (v *vaultWriter) send(ctx context.Context, method, path string, body, answer any) (sent, acked int, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, v.serving.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+v.tenant.Reveal())
	sent = v.disk.position()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return sent, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(res.Body)
	acked = v.disk.position()
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(text, &struct{ Data any }{answer})
	}
	if err != nil {
		acked = 0
	}
	return sent, acked, err
}

// vaultWriter is a vault on a recorded disk, with the writes that its clients have sent.
type vaultWriter struct {
	vaultFiles
	disk    *recorder
	serving *server
	tenant  api.Key

	history
	rootKeyAt, tenantAt int // positions at which the root key and the tenant's key were acknowledged

	ids  sync.Map // of secrets, by name
	keys sync.Map // resource keys (api.Key), by id
}

// recordVault starts vaults on a recorded disk, writes to them, and stops them in different ways.
func recordVault(t *testing.T) (*vaultWriter, recording) {
	t.Helper()
	program(t, "miosa-vault")
	disk := mount(t)
	v := &vaultWriter{disk: disk, vaultFiles: vaultFiles(disk.folder)}
	if err := os.Mkdir(disk.at("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	disk.begin()
	v.must(t, "keys", "root", "--out", v.rootKey())
	v.rootKeyAt = disk.position()
	key, err := api.ParseKey(v.must(t, append([]string{"keys", "create", "--tenant", tenantName}, v.flags()...)...))
	if err != nil {
		t.Fatal(err)
	}
	v.tenant, v.tenantAt = key, disk.position()
	for n := range starts {
		if v.serving, err = v.serve(); err != nil {
			t.Fatal(err)
		}
		stop := sync.OnceFunc(func() { v.serving.stop(syscall.SIGKILL) })
		t.Cleanup(stop)
		v.observe(t)
		v.write(t, n)
		if n%2 == 0 {
			stop()
		} else {
			v.serving.stop(syscall.SIGTERM)
		}
	}
	return v, disk.recording()
}

func (v *vaultWriter) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := v.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// observe adds what the vault has after a start: it must keep that.
func (v *vaultWriter) observe(t *testing.T) {
	t.Helper()
	at := v.disk.position()
	found, err := v.check(v.serving.url, v.at(at), nil)
	if err != nil {
		t.Fatal(err)
	}
	at = v.disk.position()
	for name := range v.at(at) {
		if !strings.HasPrefix(name, keyPrefix) {
			v.add(event{name, found[name], at, at})
		}
	}
}

// keyPrefix begins the names of resource keys in a history; the rest is the id. Version 1 is valid, version 2 revoked.
const keyPrefix = "key "

// write writes with many clients, and rotates keys meanwhile. In the start with number n the clients are interrupted if it is even.
func (v *vaultWriter) write(t *testing.T, n int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var clients, rotator sync.WaitGroup
	problems := make([]error, rotators+2)
	for i := range rotators {
		clients.Go(func() { problems[i] = v.rotate(ctx, fmt.Sprintf("R%d", i)) })
	}
	clients.Go(func() { problems[rotators] = v.createAndDelete(ctx, n) })
	clients.Go(func() { problems[rotators+1] = v.issueAndRevoke(ctx) })
	rotator.Go(func() {
		args := []string{"keys", "rotate", "--all"}
		if n%2 == 1 {
			args[2] = "--root"
		}
		if _, err := v.run(append(args, v.flags()...)...); err != nil {
			t.Error(err)
		}
	})
	if n%2 == 0 {
		rotator.Wait()
		interrupt()
	}
	clients.Wait()
	rotator.Wait()
	if err := errors.Join(problems...); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// put creates a secret or, if it exists, rotates it.
func (v *vaultWriter) put(ctx context.Context, name string, version int64) error {
	method, path := "POST", "/egress/secrets"
	body := map[string]string{"name": name, "value": valueOf(name, version), "resource_type": sandbox.Type, "resource_id": sandbox.ID, "expose_as_env": name}
	if id, there := v.ids.Load(name); there {
		method, path, body = "PATCH", path+"/"+id.(string), map[string]string{"value": body["value"]}
	}
	var made api.Secret
	sent, acked, err := v.send(ctx, method, path, body, &made)
	v.add(event{name, version, sent, acked})
	if err == nil {
		v.ids.Store(name, made.ID)
	}
	return err
}

func (v *vaultWriter) rotate(ctx context.Context, name string) error {
	next := slices.Max(append(v.at(v.disk.position())[name], 0)) + 1
	for i := range int64(rotations) {
		if err := v.put(ctx, name, next+i); err != nil {
			return err
		}
	}
	return nil
}

func (v *vaultWriter) createAndDelete(ctx context.Context, n int) error {
	for i := range rotations / 2 {
		name := fmt.Sprintf("C%d_%d", n, i)
		if err := v.put(ctx, name, 1); err != nil {
			return err
		}
		if i%2 == 0 {
			continue
		}
		id, _ := v.ids.Load(name)
		sent, acked, err := v.send(ctx, "DELETE", "/egress/secrets/"+id.(string), nil, nil)
		v.add(event{name, 0, sent, acked})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *vaultWriter) issueAndRevoke(ctx context.Context) error {
	for i := range rotations / 2 {
		var made api.IssuedKey
		sent, acked, err := v.send(ctx, "POST", "/egress/resource-keys", sandbox, &made)
		if err != nil {
			return err // nobody has the key
		}
		key, err := api.ParseKey(made.Key)
		if err != nil {
			return err
		}
		v.keys.Store(made.ID, key)
		v.add(event{keyPrefix + made.ID, 1, sent, acked})
		if i%2 == 0 {
			continue
		}
		sent, acked, err = v.send(ctx, "DELETE", "/egress/resource-keys/"+made.ID, nil, nil)
		v.add(event{keyPrefix + made.ID, 2, sent, acked})
		if err != nil {
			return err
		}
	}
	return nil
}

// replay starts the vault with the files in a folder and compares what it has with what was acknowledged.
func (v *vaultWriter) replay(folder string, crash, number int) error {
	f := vaultFiles(folder)
	if err := f.checkRevocations(v.at(crash)); err != nil {
		return err
	}
	if _, err := os.Stat(f.rootKey()); errors.Is(err, os.ErrNotExist) && crash < v.rootKeyAt {
		if _, err := f.run("keys", "root", "--out", f.rootKey()); err != nil {
			return err
		}
	}
	if crash < v.tenantAt { // the operator repeats it
		if _, err := f.run(append([]string{"keys", "create", "--tenant", tenantName}, f.flags()...)...); err != nil {
			return err
		}
	}
	s, err := f.serve()
	if err != nil {
		return err
	}
	defer s.stop(syscall.SIGKILL)
	if crash < v.tenantAt {
		return nil
	}
	pick := func(id string) bool { return (int(id[len(id)-1])+number)%4 == 0 } // some of the keys
	if _, err := v.check(s.url, v.at(crash), pick); err != nil {
		return err
	}
	if number%10 == 0 {
		_, err = f.run(append([]string{"audit", "verify"}, f.flags()...)...)
	}
	return err
}

// check compares what a vault has with the allowed versions, and returns the versions of all secrets. pick returns the resource keys to
// check by their ids; nil: none.
func (v *vaultWriter) check(url string, allowed map[string][]int64, pick func(id string) bool) (map[string]int64, error) {
	ctx := context.Background()
	owner, err := fetch.New(fetch.Config{BaseURL: url, Key: v.tenant})
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	secrets, err := owner.Secrets(ctx, fetch.SecretFilter{})
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	found := map[string]int64{}
	for _, s := range secrets {
		found[s.Name] = s.Version
		if allowed[s.Name] == nil {
			return nil, fmt.Errorf("%s exists, and nobody has sent it", s.Name)
		}
	}
	issued, err := owner.IssueKey(ctx, api.KeyRequest{Resource: sandbox})
	if err != nil {
		return nil, fmt.Errorf("create key: %w", err)
	}
	key, err := api.ParseKey(issued.Key)
	if err != nil {
		return nil, err
	}
	set, err := reveal(ctx, url, key)
	if err != nil {
		return nil, err
	}
	if len(set.Bound) != len(found) {
		return nil, fmt.Errorf("%d secrets are listed and %d revealed", len(found), len(set.Bound))
	}
	for _, b := range set.Bound {
		if b.Version != found[b.ExposeAsEnv] || b.Value.Reveal() != valueOf(b.ExposeAsEnv, b.Version) {
			return nil, fmt.Errorf("%s has a value that isn't that of version %d", b.ExposeAsEnv, found[b.ExposeAsEnv])
		}
	}
	for name, versions := range allowed {
		id, isKey := strings.CutPrefix(name, keyPrefix)
		version := found[name]
		if isKey {
			if pick == nil || !pick(id) {
				continue
			}
			if version, err = v.keyVersion(ctx, url, id); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(versions, version) && !(isKey && slices.Contains(versions, 0) && version == 2) {
			return nil, fmt.Errorf("%s is at version %d, want one of %d", name, version, versions)
		}
	}
	return found, nil
}

// checkRevocations checks that the list next to the database has every revocation. A start adds those of the database.
func (f vaultFiles) checkRevocations(allowed map[string][]int64) error {
	list, err := revocation.Open(filepath.Join(f.data(), "revocations"))
	if err != nil {
		return err
	}
	for name, versions := range allowed {
		if id, isKey := strings.CutPrefix(name, keyPrefix); isKey && slices.Equal(versions, []int64{2}) && !list.Refuses(id, time.Now()) {
			return fmt.Errorf("%s isn't in the list of revoked keys", name)
		}
	}
	return nil
}

// keyVersion returns 1 for a key that is valid, and 2 for one that is refused.
func (v *vaultWriter) keyVersion(ctx context.Context, url, id string) (int64, error) {
	key, _ := v.keys.Load(id)
	_, err := reveal(ctx, url, key.(api.Key))
	if errors.Is(err, api.ErrUnauthorized) {
		return 2, nil
	}
	return 1, err
}

func reveal(ctx context.Context, url string, key api.Key) (api.Snapshot, error) {
	agent, err := fetch.New(fetch.Config{BaseURL: url, Key: key})
	if err != nil {
		return api.Snapshot{}, err
	}
	defer agent.Close()
	set, err := agent.Reveal(ctx, sandbox, "", 0)
	if err != nil {
		err = fmt.Errorf("reveal: %w", err)
	}
	return set, err
}

// After a loss of power at any moment, the vault starts and has every secret, key and revocation that it has acknowledged.
func TestFault_V2_PowerLostByVault(t *testing.T) {
	const perRecording = 1000
	count := replays(t) * 3 / 5
	for done := 0; done < count; done += perRecording {
		began := time.Now()
		w, made := recordVault(t)
		t.Logf("recorded %d operations in %s", len(made.ops), time.Since(began))
		n := min(perRecording, count-done)
		if failed, err := made.replay(t, n, newSeed(), w.replay); failed > 0 {
			t.Fatalf("%d of %d replays failed: %v", failed, n, err)
		}
		if done == 0 {
			made.controls(t, func(folder string, crash int) error { return w.replay(folder, crash, 1) }, []string{"vault.db", "vault.db-wal"}, []string{"revocations"}, []string{"root.key"})
		}
	}
	t.Logf("%d replays", count)
}
