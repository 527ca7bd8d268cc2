package vault

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
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
)

// writerEnv names the folder of the store that the test binary, run again, is to write to.
const writerEnv = "MIOSA_TEST_WRITE_TO"

const (
	killRounds   = 40
	killSecrets  = 4 // rotated, each by one goroutine, so that at most one write of it is in flight
	killTenant   = "acme"
	killFewest   = 8 // with -short
	killUnawares = 5 // one round in so many is killed at any moment, opening the store included
)

// TestWriterProcess is not a test: it is what TestKillUnderWrites starts and kills. It writes
// without end, and prints a line for each write that was acknowledged.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerEnv)
	if dir == "" {
		return
	}
	ctx := context.Background()
	s, err := OpenStore(ctx, StoreConfig{DataDir: dir, RootKey: RootKeyFile(filepath.Join(dir, "root.key"), false), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := s.LocalActor(ctx, killTenant)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Bindings(ctx, owner, BindingFilter{})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	for _, b := range list {
		go func() {
			for version := b.Version; ; {
				secret, err := s.RotateSecret(ctx, owner, b.SecretID, Rotation{Value: valueOf(version + 1)})
				if err != nil {
					failed <- err
					return
				}
				version = secret.Version
				_, _ = os.Stdout.WriteString("rotated " + b.SecretID + " " + strconv.FormatInt(version, 10) + "\n")
			}
		}()
	}
	go func() {
		for {
			secret, _, _, err := s.PutSecret(ctx, owner, PutSecret{Name: newID("new "), Value: valueOf(1)})
			if err != nil {
				failed <- err
				return
			}
			_, _ = os.Stdout.WriteString("put " + secret.ID + " 1\n")
			if _, err := s.RotateKeys(ctx, killTenant); err != nil {
				failed <- err
				return
			}
		}
	}()
	t.Fatal(<-failed)
}

// valueOf is the value that a version has: large enough for several pages.
func valueOf(version int64) *api.Value {
	return text(fmt.Sprintf("%d %s", version, strings.Repeat("v", int(version%5)*4000)))
}

// TestKillUnderWrites kills a process that writes, data keys being rotated meanwhile, and looks after each
// time whether all it acknowledged is there and opens, previews included, and at the end whether the
// database is sound. The server under HTTP writes is killed more often, by cmd/miosa-vault's TestKillServe.
func TestKillUnderWrites(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, killTenant)
	reader := agent(t, s, owner, box1)
	acknowledged := map[string]int64{} // secret id -> version
	for i := range killSecrets {
		secret := put(t, s, owner, PutSecret{Name: itoa(i), Value: valueOf(1)})
		bind(t, s, owner, NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "S" + itoa(i)})
		acknowledged[secret.ID] = 1
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	began, rounds, writes, most := time.Now(), 0, 0, killRounds
	if testing.Short() {
		most = killFewest
	}
	for rounds < most {
		rounds++
		writes += killOnce(t, dir, rounds%killUnawares == 0, acknowledged)
		s := storeAt(t, dir)
		set, err := s.Reveal(t.Context(), reader, box1)
		if err != nil {
			t.Fatalf("round %d: %v", rounds, err)
		}
		for _, b := range set {
			if !b.Value.Equal(*valueOf(b.Version)) {
				t.Fatalf("round %d: %s has another version's value", rounds, b.SecretID)
			}
		}
		list, _, err := s.Secrets(t.Context(), owner, SecretFilter{}) // opens every preview
		if err != nil {
			t.Fatalf("round %d: %v", rounds, err)
		}
		stored := map[string]int64{}
		for _, secret := range list {
			stored[secret.ID] = secret.Version
		}
		for id, version := range acknowledged {
			// One more may have been committed and not yet printed.
			if got := stored[id]; got < version || got > version+1 {
				t.Fatalf("round %d: %s is at version %d, acknowledged was %d", rounds, id, got, version)
			}
		}
		for id, version := range stored {
			acknowledged[id] = version // what was seen once must not go either
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = storeAt(t, dir)
	var verdict string
	if look(t, s, &verdict, `PRAGMA integrity_check`); verdict != "ok" {
		t.Errorf("integrity: %q", verdict)
	}
	t.Logf("%d kills over %d acknowledged writes in %s", rounds, writes, time.Since(began).Round(time.Millisecond))
	if writes < rounds {
		t.Errorf("that is too few to tell anything")
	}
}

// killOnce runs one writer until it is killed, adds what it acknowledged, and returns how many writes that
// were.
func killOnce(t *testing.T, dir string, unawares bool, acknowledged map[string]int64) (writes int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterProcess$")
	c.Env = append(os.Environ(), writerEnv+"="+dir)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func(after time.Duration) {
		_ = pause(t.Context(), after)
		_ = c.Process.Kill()
	}
	if unawares {
		go kill(rand.N(120 * time.Millisecond))
	}
	var said strings.Builder
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line that was cut acknowledges nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		var what, id string
		var version int64
		if n, _ := fmt.Sscanf(line, "%s %s %d", &what, &id, &version); n != 3 || what != "put" && what != "rotated" {
			said.WriteString(line)
			continue
		}
		acknowledged[id] = version
		if writes++; writes == 1 && !unawares {
			go kill(rand.N(40 * time.Millisecond))
		}
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != -1 {
		t.Fatalf("the writer ended by itself: %v\n%s%s", err, &said, &complaints)
	}
	return writes
}
