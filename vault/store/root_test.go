package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

func openWith(t *testing.T, dir string, r keyring.Root) error {
	t.Helper()
	s, err := Open(t.Context(), Config{DataDir: dir, RootKey: r})
	if err != nil {
		return err
	}
	return s.Close()
}

func TestRootKeyIsChecked(t *testing.T) {
	key, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	other, err := keyring.NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		root func(t *testing.T, path string) keyring.Root
		want string // substring of the error; "": opens
	}{
		{"the same, as text", func(*testing.T, string) keyring.Root { return keyring.Root{Text: key} }, ""},
		{"the same, in a file", func(t *testing.T, path string) keyring.Root {
			write(t, path, key.Reveal()+"\n", 0o600)
			return keyring.Root{File: path}
		}, ""},
		{"another", func(*testing.T, string) keyring.Root { return keyring.Root{Text: other} }, "not the one this store was made with"},
		{"missing file", func(_ *testing.T, path string) keyring.Root { return keyring.Root{File: path} }, "no such file"},
		{"readable by others", func(t *testing.T, path string) keyring.Root {
			write(t, path, key.Reveal(), 0o640)
			return keyring.Root{File: path}
		}, "chmod 600"},
		{"not a key", func(*testing.T, string) keyring.Root { return keyring.Root{Text: text("hunter2")} }, "malformed"},
		{"cut short", func(*testing.T, string) keyring.Root { return keyring.Root{Text: text(key.Reveal()[:40])} }, "malformed"},
		{"no base64", func(*testing.T, string) keyring.Root { return keyring.Root{Text: text("msk_root_" + "hunter2!")} }, "malformed"},
		{"empty file", func(t *testing.T, path string) keyring.Root {
			write(t, path, "", 0o600)
			return keyring.Root{File: path}
		}, "malformed"},
	}
	dir := t.TempDir()
	if err := openWith(t, dir, keyring.Root{Text: key}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root.key")
			err := openWith(t, dir, tt.root(t, path))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key.Reveal()[:40]) {
				t.Errorf("got %v, want %q and nothing of a key", err, tt.want)
			}
		})
	}
	if got := api.RedactKeys("key " + key.Reveal()); strings.Contains(got, key.Reveal()[len("msk_root_"):]) {
		t.Error("RedactKeys does not redact a root key")
	}
}
