package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// wrappings returns the wrapped keysets of all tenants.
func wrappings(t *testing.T, s *Store) (all [][]byte) {
	t.Helper()
	err := s.db.Read(t.Context(), func(tx database.Tx) error {
		rows, err := tx.Query(`SELECT keyset FROM tenants`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var one []byte
			if err := rows.Scan(&one); err != nil {
				return err
			}
			all = append(all, one)
		}
		return rows.Err()
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d keysets, %v", len(all), err)
	}
	return all
}

// traces returns the files below dir that contain any of the texts.
func traces(t *testing.T, dir string, texts [][]byte) (found []string) {
	t.Helper()
	for path, content := range canary.Files(t, dir) {
		for _, text := range texts {
			if middle := text[len(text)/4 : len(text)*3/4]; bytes.Contains([]byte(content), middle) {
				found = append(found, filepath.Base(path))
				break
			}
		}
	}
	return found
}

// A leaked root key opens nothing in a copy of the files that is made after the key was replaced, while a server has the
// database open: no file contains a keyset that it wrapped. A rotation that is stopped before it erased them keeps two keys in
// the root key's file, and so isn't taken for a complete one.
func TestAttack_OldWrappingAfterRootRotation(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	dir := t.TempDir()
	serving, rotating := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, serving, "acme")
	bound(t, serving, owner, "A", "value")
	tenant(t, serving, "other")
	old := wrappings(t, serving)
	if traces(t, dir, old) == nil {
		t.Fatal("the wrapped keysets are not found before the rotation")
	}
	rotating.step = func(name string) error {
		if name == "tenant re-wrapped" {
			return errCrash
		}
		return nil
	}
	if err := rotating.RotateRoot(t.Context()); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if rotating.keys.RootLen() != 2 {
		t.Errorf("%d root keys after an incomplete rotation, want 2", rotating.keys.RootLen())
	}
	rotating.step = func(string) error { return nil }
	if err := rotating.RotateRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := traces(t, dir, old); found != nil {
		t.Errorf("old wrappings are in %v", found)
	}
	if rotating.keys.RootLen() != 1 {
		t.Errorf("%d root keys after a rotation, want 1", rotating.keys.RootLen())
	}
}

// Root keys that a killed rotation left in temporary files are removed by the next start and by the next rotation. Files of other
// names stay, and while a rotation runs, so do its temporary files.
func TestAttack_LeftoverRootKeys(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	tenant(t, s, "acme")
	leave := func(name string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("msk_root_leftover\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	there := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	other := []string{leave(".root-key-backup", 0o600), leave("root-key-1", 0o600), leave(".root-key-4", 0o640), filepath.Join(dir, ".root-key-5")}
	if err := os.Symlink("root.key", other[3]); err != nil {
		t.Fatal(err)
	}
	left := leave(".root-key-123456789", 0o600)
	storeAt(t, dir)
	if there(left) {
		t.Error("a start leaves an old root key")
	}
	left = leave(".root-key-2", 0o600)
	began := false
	s.step = func(name string) error {
		if name == "root key added" {
			began = true
			if there(left) {
				t.Error("a rotation leaves an old root key")
			}
			written := leave(".root-key-3", 0o600) // as if this rotation was writing it
			storeAt(t, dir)
			if !there(written) {
				t.Error("a start removes the file of a rotation that is running")
			}
		}
		return nil
	}
	if err := s.RotateRoot(t.Context()); err != nil || !began {
		t.Fatal(began, err)
	}
	for _, path := range other {
		if !there(path) {
			t.Errorf("%s was removed", path)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "root.key"))
	if err != nil || !strings.HasPrefix(string(text), "msk_root_") {
		t.Errorf("the root key is damaged: %v", err)
	}
}
