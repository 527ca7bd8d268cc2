package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

const (
	kills        = 200
	killsShort   = 20 // with -short
	killAtStart  = 10 // once in this many rounds it is also killed during its start
	killRotators = 4
	killCreators = 2
	killKeeps    = 8 // number of secrets each creator keeps; beyond that it deletes the oldest
	killWithin   = 80 * time.Millisecond
)

// versionRange is the range of versions that a secret may have now; 0: it does not exist. If least is less than most,
// one write to it was sent and not answered.
type versionRange struct{ least, most int64 }

// killedVault is a miosa-vault serve that is killed repeatedly, with the state that its clients expect. Each
// secret is written by one client, so at most one write to it is in progress.
type killedVault struct {
	dir      string
	url      string
	tenant   api.Key
	resource api.Key
	serve    *process
	took     time.Duration // duration of the last start

	mu       sync.Mutex // guards the fields below
	versions map[string]versionRange
	ids      map[string]string // secret name to id
	answered int
}

var killedSandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// killedValue returns the value of a secret's version, for some versions several pages large.
func killedValue(name string, version int64) string {
	return fmt.Sprintf("%s %d %s", name, version, strings.Repeat("v", int(version%4)*3000))
}

// SIGKILL of a serving vault during writes loses no acknowledged write. 200 kills; vault/store's
// TestFault_V1_KilledWhileWriting adds 800 without HTTP.
func TestFault_V1_KilledWhileServing(t *testing.T) {
	b := &killedVault{dir: t.TempDir(), versions: map[string]versionRange{}, ids: map[string]string{}}
	succeed(t, "keys", "root", "--out", b.rootKey())
	b.tenant = parsed(t, succeed(t, "keys", "create", "--tenant", "acme", "--data-dir", b.data(), "--root-key-file", b.rootKey()))
	b.resource = parsed(t, succeed(t, "keys", "create", "--tenant", "acme", "--resource", killedSandbox.String(),
		"--data-dir", b.data(), "--root-key-file", b.rootKey()))
	t.Cleanup(func() { b.serve.kill() })
	rounds := kills
	if testing.Short() {
		rounds = killsShort
	}
	began := time.Now()
	b.start(t)
	for round := range rounds {
		if err := b.writeUntilKilled(t, round); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round%killAtStart == 0 {
			b.launch(t)
			b.killWithin(b.took)
			<-b.serve.ended
		}
		b.start(t)
		if err := b.check(t); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d kills over %d answered writes in %s", rounds, b.answered, time.Since(began).Round(time.Millisecond))
	if b.answered < rounds {
		t.Errorf("only %d writes were answered in %d rounds", b.answered, rounds)
	}
}

func (b *killedVault) data() string    { return filepath.Join(b.dir, "data") }
func (b *killedVault) rootKey() string { return filepath.Join(b.dir, "root.key") }

// launch starts the vault without waiting.
func (b *killedVault) launch(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	b.serve = &process{Cmd: exec.Command(path, "serve", "--data-dir", b.data(), "--root-key-file", b.rootKey(),
		"--addr", "127.0.0.1:0", "--log-format", "json", "--limit", "key_requests=1e6",
		"--limit", "key_burst=1e6,tenant_requests=1e6,tenant_burst=1e6,requests=1e6,tenant_writes=1e6,writes=1e6,tenant_events=1e6,events=1e6")}
	if err := b.serve.start(); err != nil {
		t.Fatal(err)
	}
}

// start starts the vault and waits until it serves.
func (b *killedVault) start(t *testing.T) {
	t.Helper()
	began := time.Now()
	b.launch(t)
	b.url, _ = b.serve.serves(t)
	b.took = time.Since(began)
}

// killWithin kills the vault at a random moment within d, without waiting for its end.
func (b *killedVault) killWithin(d time.Duration) {
	serve := b.serve.Process
	time.AfterFunc(rand.N(d), func() { _ = serve.Kill() })
}

// writeUntilKilled lets all clients write while the vault is killed. It returns errors that the kill does not
// explain.
func (b *killedVault) writeUntilKilled(t *testing.T, round int) error {
	transport := &http.Transport{MaxIdleConnsPerHost: killRotators + killCreators}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	problems := make([]error, killRotators+killCreators)
	var writers sync.WaitGroup
	for i := range killRotators {
		writers.Go(func() { problems[i] = b.rotate(t.Context(), client, fmt.Sprintf("R%d", i)) })
	}
	for i := range killCreators {
		writers.Go(func() { problems[killRotators+i] = b.create(t.Context(), client, fmt.Sprintf("C%d_%03d", i, round)) })
	}
	within := killWithin
	if b.answers() < 2*round { // on a slow machine most rounds would end before an answer
		within *= 10
	}
	b.killWithin(within)
	writers.Wait()
	select {
	case <-b.serve.ended:
	case <-time.After(patience):
		return errors.New("the vault is still there")
	}
	if code := b.serve.ProcessState.ExitCode(); code != -1 {
		_, text := b.serve.text()
		return fmt.Errorf("the vault ended by itself with %d: %s", code, text)
	}
	return errors.Join(problems...)
}

// answers returns the number of answered writes.
func (b *killedVault) answers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answered
}

// rotate creates a secret, if it does not exist, and rotates it until the vault is killed.
func (b *killedVault) rotate(ctx context.Context, client *http.Client, name string) error {
	for {
		version := b.expect(name, func(f versionRange) versionRange { return versionRange{f.least, f.least + 1} }).most
		method, path, body := "PATCH", "/egress/secrets/"+b.id(name), map[string]string{"value": killedValue(name, version)}
		if version == 1 {
			method, path, body = "POST", "/egress/secrets", newSecret(name)
		}
		if gone, err := b.send(ctx, client, method, path, name, body); gone || err != nil {
			return err
		}
	}
}

// create creates and binds secrets, and deletes the oldest, until the vault is killed.
func (b *killedVault) create(ctx context.Context, client *http.Client, prefix string) error {
	mine, _, _ := strings.Cut(prefix, "_")
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s_%04d", prefix, n) // sorted by creation
		b.expect(name, func(versionRange) versionRange { return versionRange{0, 1} })
		if gone, err := b.send(ctx, client, "POST", "/egress/secrets", name, newSecret(name)); gone || err != nil {
			return err
		}
		oldest := b.oldest(mine + "_")
		if oldest == "" {
			continue
		}
		b.expect(oldest, func(f versionRange) versionRange { return versionRange{0, f.most} })
		if gone, err := b.send(ctx, client, "DELETE", "/egress/secrets/"+b.id(oldest), oldest, nil); gone || err != nil {
			return err
		}
	}
}

func newSecret(name string) map[string]string {
	return map[string]string{
		"name": name, "value": killedValue(name, 1),
		"resource_type": killedSandbox.Type, "resource_id": killedSandbox.ID, "expose_as_env": name,
	}
}

func (b *killedVault) id(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ids[name]
}

// oldest returns the next secret to delete, or "" while there are few.
func (b *killedVault) oldest(prefix string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.ids {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	if len(names) <= killKeeps {
		return ""
	}
	return slices.Min(names)
}

// expect updates the expected versions of a secret.
func (b *killedVault) expect(name string, change func(versionRange) versionRange) versionRange {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.versions[name] = change(b.versions[name])
	return b.versions[name]
}

// send sends one write without retries and records its acknowledgment as soon as the status arrives. It reports
// whether the vault is gone.
func (b *killedVault) send(ctx context.Context, client *http.Client, method, path, name string, body any) (gone bool, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+b.tenant.Reveal())
	res, err := client.Do(req)
	if err != nil {
		return true, nil // killed: the write may or may not be stored
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		return false, fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
	}
	b.expect(name, func(f versionRange) versionRange {
		if method == "DELETE" {
			return versionRange{0, 0}
		}
		return versionRange{f.most, f.most}
	})
	answer, err := io.ReadAll(res.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered++
	if err != nil {
		return true, nil // killed between the status and the end of the body
	}
	if method == "DELETE" {
		delete(b.ids, name)
		return false, nil
	}
	var made struct{ Data api.Secret }
	if err := json.Unmarshal(answer, &made); err != nil {
		return false, err
	}
	b.ids[name] = made.Data.ID
	return false, nil
}

// check compares the vault's state with the expected one, and then replaces the latter.
func (b *killedVault) check(t *testing.T) error {
	t.Helper()
	owner, agent := dial(t, b.url, b.tenant), dial(t, b.url, b.resource)
	defer owner.Close()
	defer agent.Close()
	listed, err := owner.Secrets(t.Context(), fetch.SecretFilter{})
	if err != nil {
		return err
	}
	stored, ids := map[string]int64{}, map[string]string{}
	for _, s := range listed {
		stored[s.Name], ids[s.Name] = s.Version, s.ID
	}
	snapshot, err := agent.Reveal(t.Context(), killedSandbox, "", 0)
	if err != nil {
		return err
	}
	revealed := map[string]int64{}
	for _, bound := range snapshot.Bound {
		if bound.Value.Reveal() != killedValue(bound.ExposeAsEnv, bound.Version) {
			return fmt.Errorf("%s has a value that isn't that of version %d", bound.ExposeAsEnv, bound.Version)
		}
		revealed[bound.ExposeAsEnv] = bound.Version
	}
	if !maps.Equal(stored, revealed) {
		return fmt.Errorf("%d secrets are listed, and not the same %d revealed", len(stored), len(revealed))
	}
	for name := range stored {
		if _, known := b.versions[name]; !known {
			return fmt.Errorf("%s was never sent", name)
		}
	}
	for name, f := range b.versions {
		if got := stored[name]; got < f.least || got > f.most {
			return fmt.Errorf("%s is at version %d, want %d to %d (0: not there)", name, got, f.least, f.most)
		}
		b.versions[name] = versionRange{stored[name], stored[name]} // what was seen once must stay
	}
	b.ids = ids
	return nil
}

func dial(t *testing.T, url string, key api.Key) *fetch.Client {
	t.Helper()
	c, err := fetch.New(fetch.Config{BaseURL: url, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// succeed runs a command that must succeed and returns its standard output.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), "miosa-vault", args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args[:2], err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

func parsed(t *testing.T, text string) api.Key {
	t.Helper()
	key, err := api.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
