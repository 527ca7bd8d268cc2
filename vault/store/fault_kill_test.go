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
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// writerEnv names the folder of the store to which the test binary, run again, writes.
const writerEnv = "MIOSA_TEST_WRITE_TO"

const (
	killShort   = 10 // rounds for each store, with -short
	killSecrets = 4  // each rotated by one goroutine, so at most one write of it is in flight
	killTenant  = "acme"
	killAnytime = 5 // one round in this many is killed at any moment, opening the store included
)

// killRounds is the number of kills for each store. The stores run in parallel: the first on disk and the others
// in memory, which needs no fsync. SIGKILL loses nothing that the kernel has received, in either case.
var killRounds = []int{100, 350, 350}

// transientName is the prefix of the names of secrets that are created and deleted again.
const transientName = "transient "

// TestWriterProcess is not a test: it is the process that TestFault_V1_KilledWhileWriting starts and kills. It
// opens
// the store, reads all of it, prints what it contains, and then writes without end, printing each acknowledged write:
//
//	holds ID VERSION     one line for each secret
//	ready                the list is complete
//	rotated ID VERSION, made ID 1, deleted ID 0
//	deleting ID 0        printed before the deletion is sent
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerEnv)
	if dir == "" {
		return
	}
	ctx := context.Background()
	s, err := Open(ctx, Config{DataDir: dir, RootKey: keyring.Root{File: filepath.Join(dir, "root.key")}, Log: zerolog.Nop(), Limits: unlimited})
	if err != nil {
		t.Fatal(err)
	}
	report := func(what, id string, version int64) {
		_, _ = os.Stdout.WriteString(what + " " + id + " " + strconv.FormatInt(version, 10) + "\n")
	}
	owner, err := s.LocalActor(ctx, killTenant)
	if err != nil {
		t.Fatal(err)
	}
	list, transient, err := s.readAll(ctx, owner)
	if err != nil {
		t.Fatal(err)
	}
	for id, version := range list {
		report("holds", id, version)
	}
	report("ready", "-", 0)
	failed := make(chan error)
	for id, version := range list {
		if transient[id] {
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
				report("rotated", id, version)
			}
		}()
	}
	go func() { failed <- s.createAndDelete(ctx, owner, transient, report) }()
	t.Fatal(<-failed)
}

// readAll returns the version of each secret by id, and which of them are transient. It opens all bound values and
// checks that each is the one of its version; it opens all previews.
func (s *Store) readAll(ctx context.Context, owner Actor) (list map[string]int64, transient map[string]bool, err error) {
	secrets, _, err := s.Secrets(ctx, owner, SecretFilter{})
	if err != nil {
		return nil, nil, err
	}
	list, transient = map[string]int64{}, map[string]bool{}
	for _, secret := range secrets {
		list[secret.ID], transient[secret.ID] = secret.Version, strings.HasPrefix(secret.Name, transientName)
	}
	reader := owner
	reader.Resource = box1
	set, err := s.opened(ctx, reader, box1)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range set {
		if !b.Value.Equal(valueOf(b.Version)) {
			return nil, nil, fmt.Errorf("%s has another version's value", b.SecretID)
		}
		if list[b.SecretID] != b.Version {
			return nil, nil, fmt.Errorf("%s is at version %d in the set and %d in the list", b.SecretID, b.Version, list[b.SecretID])
		}
	}
	return list, transient, nil
}

// createAndDelete creates and deletes secrets, beginning with those that an earlier process left, and rotates data
// keys.
func (s *Store) createAndDelete(ctx context.Context, owner Actor, transient map[string]bool, report func(string, string, int64)) error {
	remove := func(id string) error {
		report("deleting", id, 0)
		err := s.DeleteSecret(ctx, owner, id)
		if err == nil {
			report("deleted", id, 0)
		}
		return err
	}
	for id, isTransient := range transient {
		if isTransient {
			if err := remove(id); err != nil {
				return err
			}
		}
	}
	for {
		secret, _, _, err := s.PutSecret(ctx, owner, api.NewSecret{Name: newID(transientName), Value: valueOf(1),
			Resource: box1, ExposeAsEnv: newID("STRAY_")}, nil)
		if err != nil {
			return err
		}
		report("made", secret.ID, 1)
		if _, err := s.RotateKeys(ctx, killTenant); err != nil {
			return err
		}
		if err := remove(secret.ID); err != nil {
			return err
		}
	}
}

// valueOf returns the value of a version: large enough for several pages.
func valueOf(version int64) api.Value {
	return text(fmt.Sprintf("%d %s", version, strings.Repeat("v", int(version%5)*4000)))
}

// After SIGKILL of a process that opens or writes to a store, the next process finds every acknowledged write, and
// every value opens. 800 kills; cmd/miosa-vault's TestFault_V1_KilledWhileServing adds 200 under HTTP writes.
func TestFault_V1_KilledWhileWriting(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	var all sync.WaitGroup
	began, kills, writes := time.Now(), 0, make([]int, len(killRounds))
	for i, rounds := range killRounds {
		if testing.Short() {
			rounds = killShort
		}
		kills += rounds
		b := newKilledStore(t, i > 0)
		all.Go(func() {
			for round := 1; round <= rounds && !t.Failed(); round++ {
				n, err := b.killOnce(t.Context(), round%killAnytime == 0)
				if err != nil {
					t.Errorf("store %d, round %d: %v", i, round, err)
				}
				writes[i] += n
			}
			b.end(t)
			if writes[i] < rounds/2 {
				t.Errorf("%d writes acknowledged in %d rounds, too few for a result", writes[i], rounds)
			}
		})
	}
	all.Wait()
	t.Logf("%d kills over %d acknowledged writes in %s", kills, writes, time.Since(began).Round(time.Millisecond))
}

// span is the range of versions that a secret may have; 0: it does not exist.
type span struct{ least, most int64 }

// killedStore is a store whose writers are killed, with the state that they acknowledged.
type killedStore struct {
	dir   string
	known map[string]span // by secret id
}

func newKilledStore(t *testing.T, inMemory bool) *killedStore {
	t.Helper()
	b := &killedStore{t.TempDir(), map[string]span{}}
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
func (b *killedStore) killOnce(ctx context.Context, anytime bool) (writes int, err error) {
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWriterProcess$")
	c.Env = append(os.Environ(), writerEnv+"="+b.dir)
	if !anytime {
		c.Env = append(c.Env, "GOMAXPROCS=1") // starts faster, and starting takes most of a round
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
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
	if anytime {
		go kill(100 * time.Millisecond)
	}
	held := map[string]int64{}
	var problem error
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a partial line acknowledges nothing
		}
		if err != nil {
			return writes, err
		}
		var what, id string
		var version int64
		if n, _ := fmt.Sscanf(line, "%s %s %d\n", &what, &id, &version); n != 3 {
			stderr.WriteString(line)
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
			if writes++; writes == 1 && !anytime {
				go kill(20 * time.Millisecond)
			}
		}
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != -1 {
		return writes, fmt.Errorf("the writer ended by itself: %w\n%s", err, &stderr)
	}
	return writes, problem
}

// compare checks a store's state against the acknowledged one, and then replaces the latter: later states must
// include what was seen once. One rotation of each secret and one new secret may be committed without having been
// acknowledged.
func (b *killedStore) compare(held map[string]int64) error {
	unacknowledged := 0
	for id, version := range held {
		may, known := b.known[id]
		switch {
		case !known && version == 1:
			unacknowledged++
		case version < may.least || version > may.most+1 || version > 1 && may.most == 0:
			return fmt.Errorf("%s is at version %d, want %d to %d", id, version, may.least, may.most+1)
		}
	}
	if unacknowledged > 1 {
		return fmt.Errorf("%d secrets exist that no writer acknowledged", unacknowledged)
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

// end checks the final state and the integrity of the database file.
func (b *killedStore) end(t *testing.T) {
	s, err := Open(t.Context(), Config{DataDir: b.dir, RootKey: keyring.Root{File: filepath.Join(b.dir, "root.key")}, Log: zerolog.Nop(), Limits: unlimited})
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
	held, _, err := s.readAll(t.Context(), owner)
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
