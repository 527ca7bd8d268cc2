package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// filled is a store with two tenants, more rows than two batches hold, refresh tokens, and resource keys for both
// tenants.
type filled struct {
	dir     string
	readers []Actor
	owners  []Actor
	want    []map[string]string
}

func fill(t *testing.T, dir string, rows int) filled {
	t.Helper()
	s := storeAt(t, dir)
	f := filled{dir: dir}
	for _, name := range []string{"acme", "other"} {
		owner := tenant(t, s, name)
		values := map[string]string{}
		for i := range rows {
			env := fmt.Sprintf("%s_%03d", strings.ToUpper(name), i)
			values[env] = fmt.Sprintf("value %d of %s, long enough to have a preview", i, name)
			p := api.NewSecret{Name: env, Value: text(values[env]), Resource: box1, ExposeAsEnv: env}
			if i%3 == 0 {
				p.RefreshToken = text("refresh " + env)
			}
			put(t, s, owner, p)
		}
		f.owners, f.readers, f.want = append(f.owners, owner), append(f.readers, agent(t, s, owner, box1)), append(f.want, values)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// check opens the store again and reads everything: values, previews, refresh tokens.
func (f filled) check(t *testing.T) {
	t.Helper()
	s := storeAt(t, f.dir)
	for i := range f.readers {
		if diff := cmp.Diff(revealed(t, s, f.readers[i]), f.want[i]); diff != "" {
			t.Errorf("set (-got +want)\n%s", diff)
		}
		list, _, err := s.Secrets(t.Context(), f.owners[i], SecretFilter{})
		if err != nil || len(list) != len(f.want[i]) {
			t.Fatalf("%d secrets, %v", len(list), err)
		}
		const sample = 30 // only some refresh tokens, because each costs a write
		for n, secret := range list {
			if secret.Version != 1 || secret.Preview != "value ...view" {
				t.Errorf("%s: version %d, preview %q", secret.Name, secret.Version, secret.Preview)
			}
			if n%sample == 0 { // opens the refresh token in order to seal it again
				if _, err := s.RotateSecret(t.Context(), f.owners[i], secret.ID, Rotation{Value: text(f.want[i][secret.Name])}); err != nil {
					t.Errorf("%s: %v", secret.Name, err)
				}
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// keyCounts returns the number of keys in the root keyset and in each tenant's keyset.
func keyCounts(t *testing.T, s *Store) []int {
	t.Helper()
	counts := []int{s.keys.RootLen()}
	ids, err := s.tenantIDs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		keys, err := read(t.Context(), s, Actor{TenantID: id, local: true}, anyKey, (*txn).keys)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, keys.Len())
	}
	return counts
}

var errCrash = errors.New("crash")

// Each rotation is stopped after its first step, then after its second, and so on until it completes. After each
// stop every value opens, and another run completes the rotation.
func TestFault_V4_CrashAtEachStepOfARotation(t *testing.T) {
	needs.Long(t, "it rotates a large store at each of its steps")
	postgrestest.SQLiteOnly(t)
	rotations := []struct {
		name   string
		rotate func(t *testing.T, s *Store) error
		steps  int
	}{
		{"tenant keys", func(t *testing.T, s *Store) error { _, err := s.RotateKeys(t.Context(), ""); return err }, 2 * (1 + 3 + 1)},
		{"root key", func(t *testing.T, s *Store) error { return s.RotateRoot(t.Context()) }, 5},
	}
	original := fill(t, t.TempDir(), 2*batchRows+10)
	for _, r := range rotations {
		t.Run(r.name, func(t *testing.T) {
			for stop := 1; ; stop++ {
				f := original.copy(t)
				s := storeAt(t, f.dir)
				steps := 0
				s.step = func(string) error {
					if steps++; steps == stop {
						return errCrash
					}
					return nil
				}
				err := r.rotate(t, s)
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if err == nil {
					if steps != r.steps {
						t.Errorf("%d steps, want %d", steps, r.steps)
					}
					f.check(t)
					return
				}
				// Read with a fresh process, complete the rotation in another, and read again. The first check seals
				// rows again, so it uses a copy.
				f.copy(t).check(t)
				s = storeAt(t, f.dir)
				if err := r.rotate(t, s); err != nil {
					t.Fatalf("after a stop at step %d: %v", stop, err)
				}
				if diff := cmp.Diff(keyCounts(t, s), []int{1, 1, 1}); diff != "" {
					t.Errorf("keys left after a stop at step %d (-got +want)\n%s", stop, diff)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				f.check(t)
			}
		})
	}
}

func (f filled) copy(t *testing.T) filled {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	// CopyFS applies the umask.
	if err := os.Chmod(filepath.Join(dir, "root.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.dir = dir
	return f
}

// After a rotation the old keys are gone from the keysets, no row is sealed with them, and no file contains the
// old ciphertext.
func TestRotationLeavesNothingOld(t *testing.T) {
	dir := t.TempDir()
	f := fill(t, dir, 10)
	s := storeAt(t, dir)
	before := sealedRows(t, s)
	rows, err := s.RotateKeys(t.Context(), "acme")
	if err != nil || rows != 10 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if rows, err = s.RotateKeys(t.Context(), ""); err != nil || rows != 20 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	_, err = s.RotateKeys(t.Context(), "nobody")
	wantKind(t, err, api.ErrNotFound)
	if err := s.RotateRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for path, text := range canary.Files(t, dir) {
		for id, sealed := range before {
			if strings.Contains(text, string(sealed[5:25])) {
				t.Errorf("%s still contains the old ciphertext of %s", path, id)
			}
		}
	}
	f.check(t)
	s = storeAt(t, dir)
	for action, want := range map[string]int{actKeysRotate: 2, actKeysRetire: 2, actRootRotate: 1} {
		if got := len(audited(t, s, f.owners[0], action)); got != want {
			t.Errorf("%s audited %d times, want %d", action, got, want)
		}
	}
}

func sealedRows(t *testing.T, s *Store) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := s.db.Read(t.Context(), func(tx database.Tx) error {
		rows, err := tx.Query(`SELECT id, value FROM secrets`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id string
			var sealed []byte
			if err := rows.Scan(&id, &sealed); err != nil {
				return err
			}
			found[id] = sealed
		}
		return rows.Err()
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d rows, %v", len(found), err)
	}
	return found
}

// Data keys and root keys rotate in one store while another one on the same folder, with its own caches, reads,
// writes and creates tenants. Nothing fails and nothing is lost.
func TestRotationWhileAnotherProcessWrites(t *testing.T) {
	dir := t.TempDir()
	serving, rotating := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, serving, "acme")
	reader := agent(t, serving, owner, box1)
	const secrets = 40
	ids := make([]string, secrets)
	for i := range ids {
		ids[i] = bound(t, serving, owner, fmt.Sprintf("S_%02d", i), "0").ID
	}
	stop, failed := make(chan struct{}), make(chan error, 2)
	last := make([]int, secrets)
	go func() {
		failed <- func() error {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if _, err := serving.RotateSecret(t.Context(), owner, ids[n%secrets], Rotation{Value: text(itoa(n))}); err != nil {
					return fmt.Errorf("write %d: %w", n, err)
				}
				last[n%secrets] = n
				if n%20 == 0 {
					if _, err := serving.CreateTenantKey(t.Context(), "tenant-"+itoa(n)); err != nil {
						return fmt.Errorf("tenant %d: %w", n, err)
					}
				}
			}
		}()
	}()
	go func() {
		failed <- func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				set, err := serving.opened(t.Context(), reader, box1)
				if err != nil {
					return fmt.Errorf("reveal: %w", err)
				}
				if len(set) != secrets {
					return fmt.Errorf("%d revealed", len(set))
				}
			}
		}()
	}()
	began := time.Now()
	for round := 0; round < 3 || time.Since(began) < 2*time.Second; round++ {
		if _, err := rotating.RotateKeys(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if err := rotating.RotateRoot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range 2 {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for i, n := range last {
		want[fmt.Sprintf("S_%02d", i)] = itoa(n)
	}
	if _, err := rotating.RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"serving": serving, "rotating": rotating, "new": storeAt(t, dir)} {
		if diff := cmp.Diff(revealed(t, s, reader), want); diff != "" {
			t.Errorf("%s store's set (-got +want)\n%s", name, diff)
		}
		for i, n := range keyCounts(t, s) {
			// The serving process may have cached the root keyset while it had both keys; it reads it again when it
			// meets a third.
			if n != 1 && (i > 0 || s != serving) {
				t.Errorf("%s store: keyset %d holds %d keys, want 1", name, i, n)
			}
		}
	}
}

// A rotation that meets a damaged row stops, names the row, and keeps the keys of the others.
func TestRotationStopsAtADamagedRow(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	f := fill(t, t.TempDir(), 5)
	s := storeAt(t, f.dir)
	var id string
	look(t, s, &id, `SELECT id FROM secrets WHERE tenant_id = $1 ORDER BY id`, f.owners[0].TenantID)
	tamper(t, s, `UPDATE secrets SET value = zeroblob(60) WHERE id = $1`, id)
	_, err := s.RotateKeys(t.Context(), "acme")
	wantKind(t, err, api.ErrInternal)
	if !strings.Contains(err.Error(), id) {
		t.Errorf("error %q names no row", err)
	}
	if list, _, err := s.Secrets(t.Context(), f.owners[0], SecretFilter{}); err != nil || len(list) != 5 {
		t.Errorf("%d secrets, %v", len(list), err)
	}
	if err := s.DeleteSecret(t.Context(), f.owners[0], id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateKeys(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
}

func TestRootKeyOutsideAFileIsNotRotated(t *testing.T) {
	key, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{DataDir: t.TempDir(), RootKey: keyring.Root{Text: key}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.RotateRoot(t.Context()), api.ErrInvalid)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
