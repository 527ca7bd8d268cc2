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
	killUnawares = 10 // after one round in so many it is also killed while it starts
	killRotators = 4
	killCreators = 2
	killKeeps    = 8 // secrets that one creator lets live: past that it deletes the oldest
	killWithin   = 80 * time.Millisecond
)

// fate is what a secret's version may be now; 0 is no secret. Where least is below most, one write of it
// has been sent and not been answered.
type fate struct{ least, most int64 }

// battered is a miosa-vault serve that is killed again and again, and what its clients know of it. Each
// secret is written by one client, so that at most one write of it is under way.
type battered struct {
	dir      string
	url      string
	tenant   api.Key
	resource api.Key
	serve    *process
	took     time.Duration // until it served, the last time

	mu       sync.Mutex // guards the fields below
	fates    map[string]fate
	ids      map[string]string // secret's name -> id
	answered int
}

var batteredBox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// killedValue is the value that a version of a secret has, several pages large at times.
func killedValue(name string, version int64) string {
	return fmt.Sprintf("%s %d %s", name, version, strings.Repeat("v", int(version%4)*3000))
}

// SIGKILL of a vault that serves, at any moment while it is written to, loses no write that was answered. 200
// times; package vault's TestFault_V1_KilledWhileWriting has the other 800 kills of the thousand.
func TestFault_V1_KilledWhileServing(t *testing.T) {
	b := &battered{dir: t.TempDir(), fates: map[string]fate{}, ids: map[string]string{}}
	succeed(t, "keys", "root", "--out", b.rootKey())
	b.tenant = parsed(t, succeed(t, "keys", "create", "--tenant", "acme", "--data-dir", b.data(), "--root-key-file", b.rootKey()))
	b.resource = parsed(t, succeed(t, "keys", "create", "--tenant", "acme", "--resource", batteredBox.String(),
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
		if round%killUnawares == 0 {
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
		t.Errorf("that is too few to tell anything")
	}
}

func (b *battered) data() string    { return filepath.Join(b.dir, "data") }
func (b *battered) rootKey() string { return filepath.Join(b.dir, "root.key") }

// launch starts the vault and doesn't wait.
func (b *battered) launch(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("miosa-vault")
	if err != nil {
		t.Fatal(err)
	}
	b.serve = &process{Cmd: exec.Command(path, "serve", "--data-dir", b.data(), "--root-key-file", b.rootKey(),
		"--addr", "127.0.0.1:0", "--log-format", "json", "--rate", "1e6", "--burst", "1000000")}
	if err := b.serve.start(); err != nil {
		t.Fatal(err)
	}
}

// start starts the vault and waits until it serves.
func (b *battered) start(t *testing.T) {
	t.Helper()
	began := time.Now()
	b.launch(t)
	b.url, _ = b.serve.serves(t)
	b.took = time.Since(began)
}

// killWithin kills the vault at some moment of a time, and doesn't wait for it.
func (b *battered) killWithin(d time.Duration) {
	serve := b.serve.Process
	time.AfterFunc(rand.N(d), func() { _ = serve.Kill() })
}

// writeUntilKilled has all clients write while the vault is killed. It returns what went otherwise than by
// that.
func (b *battered) writeUntilKilled(t *testing.T, round int) error {
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
	b.killWithin(killWithin)
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

// rotate makes a secret, if it isn't there, and gives it one value after the other until the vault is gone.
func (b *battered) rotate(ctx context.Context, client *http.Client, name string) error {
	for {
		version := b.expect(name, func(f fate) fate { return fate{f.least, f.least + 1} }).most
		method, path, body := "PATCH", "/egress/secrets/"+b.id(name), map[string]string{"value": killedValue(name, version)}
		if version == 1 {
			method, path, body = "POST", "/egress/secrets", newSecret(name)
		}
		if gone, err := b.send(ctx, client, method, path, name, body); gone || err != nil {
			return err
		}
	}
}

// create makes one secret after the other, bound, and deletes the oldest, until the vault is gone.
func (b *battered) create(ctx context.Context, client *http.Client, prefix string) error {
	mine, _, _ := strings.Cut(prefix, "_")
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s_%04d", prefix, n) // sorted as they are made
		b.expect(name, func(fate) fate { return fate{0, 1} })
		if gone, err := b.send(ctx, client, "POST", "/egress/secrets", name, newSecret(name)); gone || err != nil {
			return err
		}
		oldest := b.oldest(mine + "_")
		if oldest == "" {
			continue
		}
		b.expect(oldest, func(f fate) fate { return fate{0, f.most} })
		if gone, err := b.send(ctx, client, "DELETE", "/egress/secrets/"+b.id(oldest), oldest, nil); gone || err != nil {
			return err
		}
	}
}

func newSecret(name string) map[string]string {
	return map[string]string{
		"name": name, "value": killedValue(name, 1),
		"resource_type": batteredBox.Type, "resource_id": batteredBox.ID, "expose_as_env": name,
	}
}

func (b *battered) id(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ids[name]
}

// oldest is a secret to delete, "" while there are few.
func (b *battered) oldest(prefix string) string {
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

// expect notes what a write, or its answer, makes of a secret.
func (b *battered) expect(name string, change func(fate) fate) fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fates[name] = change(b.fates[name])
	return b.fates[name]
}

// send sends one write, once, and notes that it was answered as soon as the status is there. It tells whether
// the vault is gone.
func (b *battered) send(ctx context.Context, client *http.Client, method, path, name string, body any) (gone bool, err error) {
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
		return true, nil // killed: what becomes of this write is open
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		return false, fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
	}
	b.expect(name, func(f fate) fate {
		if method == "DELETE" {
			return fate{0, 0}
		}
		return fate{f.most, f.most}
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

// check asks the vault for everything, compares it with what its clients know, and takes it for known.
func (b *battered) check(t *testing.T) error {
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
	snapshot, err := agent.Reveal(t.Context(), batteredBox, "", 0)
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
		if _, known := b.fates[name]; !known {
			return fmt.Errorf("%s was never sent", name)
		}
	}
	for name, f := range b.fates {
		if got := stored[name]; got < f.least || got > f.most {
			return fmt.Errorf("%s is at version %d, want %d to %d (0: not there)", name, got, f.least, f.most)
		}
		b.fates[name] = fate{stored[name], stored[name]} // what was seen once must not go either
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

// succeed runs a command that must succeed, and returns its stdout.
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
