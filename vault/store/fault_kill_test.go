package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// writerEnv names the folder of the store that the test binary, run again, is to write to.
const writerEnv = "MIOSA_TEST_WRITE_TO"

const (
	killShort    = 10 // of each store, with -short
	killSecrets  = 4  // rotated, each by one goroutine, so that at most one write of it is in flight
	killTenant   = "acme"
	killUnawares = 5 // one round in so many is killed at any moment, opening the store included
)

// killRounds is how often a writer is killed, of each store: at the same time, the first on a disk and the others
// in memory, where nobody waits for a disk. SIGKILL leaves what the kernel was given, whichever it is.
var killRounds = []int{100, 350, 350}

// strayName begins the names of secrets that are made and deleted again.
const strayName = "stray "

// TestWriterProcess is not a test: it is what TestFault_V1_KilledWhileWriting starts and kills. It opens the
// store, says what is in it, having opened all of that, and writes without end, saying what was acknowledged:
//
//	holds ID VERSION     one line a secret
//	ready                that was all
//	rotated ID VERSION, made ID 1, deleted ID 0
//	deleting ID 0        it has been sent
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerEnv)
	if dir == "" {
		return
	}
	ctx := context.Background()
	s, err := Open(ctx, Config{DataDir: dir, RootKey: keyring.Root{File: filepath.Join(dir, "root.key")}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	say := func(what, id string, version int64) {
		_, _ = os.Stdout.WriteString(what + " " + id + " " + strconv.FormatInt(version, 10) + "\n")
	}
	owner, err := s.LocalActor(ctx, killTenant)
	if err != nil {
		t.Fatal(err)
	}
	list, strays, err := s.everything(ctx, owner)
	if err != nil {
		t.Fatal(err)
	}
	for id, version := range list {
		say("holds", id, version)
	}
	say("ready", "-", 0)
	failed := make(chan error)
	for id, version := range list {
		if strays[id] {
			continue
		}
		go func() {
			for {
				secret, err := s.RotateSecret(ctx, owner, id, Rotation{Value: valueOf(version + 1)})
				if err != nil {
					failed <- err
					return
				}
				version = secret.Version
				say("rotated", id, version)
			}
		}()
	}
	go func() { failed <- s.comeAndGo(ctx, owner, strays, say) }()
	t.Fatal(<-failed)
}

// everything is the version of each secret, by id, and which of them are to be deleted. It opens all values
// that are bound, and compares them with what their versions have; it opens all previews.
func (s *Store) everything(ctx context.Context, owner Actor) (list map[string]int64, strays map[string]bool, err error) {
	secrets, _, err := s.Secrets(ctx, owner, SecretFilter{})
	if err != nil {
		return nil, nil, err
	}
	list, strays = map[string]int64{}, map[string]bool{}
	for _, secret := range secrets {
		list[secret.ID], strays[secret.ID] = secret.Version, strings.HasPrefix(secret.Name, strayName)
	}
	reader := owner
	reader.Resource = box1
	set, err := s.Reveal(ctx, reader, box1)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range set {
		if !b.Value.Equal(valueOf(b.Version)) {
			return nil, nil, fmt.Errorf("%s has another version's value", b.SecretID)
		}
		if list[b.SecretID] != b.Version {
			return nil, nil, fmt.Errorf("%s is at version %d, and %d in the list", b.SecretID, b.Version, list[b.SecretID])
		}
	}
	return list, strays, nil
}

// comeAndGo makes secrets and deletes them, those first that a process before has left, and rotates data keys.
func (s *Store) comeAndGo(ctx context.Context, owner Actor, strays map[string]bool, say func(string, string, int64)) error {
	remove := func(id string) error {
		say("deleting", id, 0)
		err := s.DeleteSecret(ctx, owner, id)
		if err == nil {
			say("deleted", id, 0)
		}
		return err
	}
	for id, stray := range strays {
		if stray {
			if err := remove(id); err != nil {
				return err
			}
		}
	}
	for {
		secret, _, _, err := s.PutSecret(ctx, owner, api.NewSecret{Name: newID(strayName), Value: valueOf(1),
			Resource: box1, ExposeAsEnv: newID("STRAY_")}, nil)
		if err != nil {
			return err
		}
		say("made", secret.ID, 1)
		if _, err := s.RotateKeys(ctx, killTenant); err != nil {
			return err
		}
		if err := remove(secret.ID); err != nil {
			return err
		}
	}
}

// valueOf is the value that a version has: large enough for several pages.
func valueOf(version int64) api.Value {
	return text(fmt.Sprintf("%d %s", version, strings.Repeat("v", int(version%5)*4000)))
}

// SIGKILL of a process that writes to a store, opening it included, loses nothing that was acknowledged: the
// next process finds all of it, and everything opens. 800 times; the other 200 kills of the thousand are
// cmd/miosa-vault's TestFault_V1_KilledWhileServing, under HTTP writes.
func TestFault_V1_KilledWhileWriting(t *testing.T) {
	var all sync.WaitGroup
	began, kills, writes := time.Now(), 0, make([]int, len(killRounds))
	for i, rounds := range killRounds {
		if testing.Short() {
			rounds = killShort
		}
		kills += rounds
		b := newBatteredStore(t, i > 0)
		all.Go(func() {
			for round := 1; round <= rounds && !t.Failed(); round++ {
				n, err := b.killOnce(t.Context(), round%killUnawares == 0)
				if err != nil {
					t.Errorf("store %d, round %d: %v", i, round, err)
				}
				writes[i] += n
			}
			b.end(t)
			if writes[i] < rounds/2 {
				t.Errorf("%d writes acknowledged in %d rounds: that is too few to tell anything", writes[i], rounds)
			}
		})
	}
	all.Wait()
	t.Logf("%d kills over %d acknowledged writes in %s", kills, writes, time.Since(began).Round(time.Millisecond))
}

// span is which version a secret may be at; 0: it isn't there.
type span struct{ least, most int64 }

// batteredStore is a store whose writers are killed, and what they have said of it.
type batteredStore struct {
	dir   string
	known map[string]span // by secret id
}

func newBatteredStore(t *testing.T, inMemory bool) *batteredStore {
	t.Helper()
	b := &batteredStore{t.TempDir(), map[string]span{}}
	if inMemory {
		if dir, err := os.MkdirTemp("/dev/shm", "miosa-vault-test-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			b.dir = dir
		}
	}
	s := storeAt(t, b.dir)
	owner := tenant(t, s, killTenant)
	for i := range killSecrets {
		secret := put(t, s, owner, api.NewSecret{Name: itoa(i), Value: valueOf(1)})
		bind(t, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "S" + itoa(i)})
		b.known[secret.ID] = span{1, 1}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// killOnce runs one writer until it is killed, and returns how many writes it acknowledged.
func (b *batteredStore) killOnce(ctx context.Context, unawares bool) (writes int, err error) {
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWriterProcess$")
	c.Env = append(os.Environ(), writerEnv+"="+b.dir)
	if !unawares {
		c.Env = append(c.Env, "GOMAXPROCS=1") // which starts sooner: that is most of what a round takes
	}
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	kill := func(within time.Duration) {
		_ = delay.Sleep(ctx, rand.N(within))
		_ = c.Process.Kill()
	}
	if unawares {
		go kill(100 * time.Millisecond)
	}
	held := map[string]int64{}
	var problem error
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line that was cut acknowledges nothing
		}
		if err != nil {
			return writes, err
		}
		var what, id string
		var version int64
		if n, _ := fmt.Sscanf(line, "%s %s %d\n", &what, &id, &version); n != 3 {
			complaints.WriteString(line)
			continue
		}
		switch what {
		case "holds":
			held[id] = version
		case "ready":
			problem = b.compare(held)
			if problem != nil {
				_ = c.Process.Kill()
			}
		case "deleting":
			b.known[id] = span{0, b.known[id].most}
		default:
			b.known[id] = span{version, version}
			if writes++; writes == 1 && !unawares {
				go kill(20 * time.Millisecond)
			}
		}
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != -1 {
		return writes, fmt.Errorf("the writer ended by itself: %w\n%s", err, &complaints)
	}
	return writes, problem
}

// compare holds what a store has against what was acknowledged, and takes it for known: what was seen once
// must not go either. One rotation of each secret, and one new secret, may have been committed and not said.
func (b *batteredStore) compare(held map[string]int64) error {
	unsaid := 0
	for id, version := range held {
		may, known := b.known[id]
		switch {
		case !known && version == 1:
			unsaid++
		case version < may.least || version > may.most+1 || version > 1 && may.most == 0:
			return fmt.Errorf("%s is at version %d, want %d to %d", id, version, may.least, may.most+1)
		}
	}
	if unsaid > 1 {
		return fmt.Errorf("%d secrets are there that nobody was told of", unsaid)
	}
	for id, may := range b.known {
		if _, there := held[id]; !there && may.least > 0 {
			return fmt.Errorf("%s is gone, version %d was acknowledged", id, may.least)
		}
	}
	clear(b.known)
	for id, version := range held {
		b.known[id] = span{version, version}
	}
	return nil
}

// end looks at everything once more, and at the file itself.
func (b *batteredStore) end(t *testing.T) {
	s, err := Open(t.Context(), Config{DataDir: b.dir, RootKey: keyring.Root{File: filepath.Join(b.dir, "root.key")}, Log: zerolog.Nop()})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = s.Close() }()
	owner, err := s.LocalActor(t.Context(), killTenant)
	if err != nil {
		t.Error(err)
		return
	}
	held, _, err := s.everything(t.Context(), owner)
	if err == nil {
		err = b.compare(held)
	}
	if err != nil {
		t.Error(err)
	}
	var verdict string
	if look(t, s, &verdict, `PRAGMA integrity_check`); verdict != "ok" {
		t.Errorf("integrity: %q", verdict)
	}
}
