package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

func openWith(t *testing.T, dir string, r RootKey) error {
	t.Helper()
	s, err := OpenStore(t.Context(), StoreConfig{DataDir: dir, RootKey: r})
	if err != nil {
		return err
	}
	return s.Close()
}

func TestRootKeyIsChecked(t *testing.T) {
	key, err := NewRootKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewRootKey()
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
		root func(t *testing.T, path string) RootKey
		want string // part of the error; "": opens
	}{
		{"the same, as text", func(*testing.T, string) RootKey { return RootKeyText(key) }, ""},
		{"the same, in a file", func(t *testing.T, path string) RootKey {
			write(t, path, key.Reveal()+"\n", 0o600)
			return RootKeyFile(path, false)
		}, ""},
		{"another", func(*testing.T, string) RootKey { return RootKeyText(other) }, "not the one this store was made with"},
		{"missing file", func(_ *testing.T, path string) RootKey { return RootKeyFile(path, false) }, "no such file"},
		// A fresh key would open nothing of what is there: it isn't made.
		{"missing file, create", func(_ *testing.T, path string) RootKey { return RootKeyFile(path, true) }, "no such file"},
		{"readable by others", func(t *testing.T, path string) RootKey {
			write(t, path, key.Reveal(), 0o640)
			return RootKeyFile(path, false)
		}, "chmod 600"},
		{"not a key", func(*testing.T, string) RootKey { return RootKeyText(*text("hunter2")) }, "malformed"},
		{"cut short", func(*testing.T, string) RootKey { return RootKeyText(*text(key.Reveal()[:40])) }, "malformed"},
		{"no base64", func(*testing.T, string) RootKey { return RootKeyText(*text(RootKeyPrefix + "hunter2!")) }, "malformed"},
		{"empty file", func(t *testing.T, path string) RootKey {
			write(t, path, "", 0o600)
			return RootKeyFile(path, false)
		}, "malformed"},
	}
	dir := t.TempDir()
	if err := openWith(t, dir, RootKeyText(key)); err != nil {
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
			if _, err := os.Stat(path); tt.name == "missing file, create" && err == nil {
				t.Error("a key was made that opens nothing")
			}
		})
	}
	if got := api.RedactKeys("key " + key.Reveal()); strings.Contains(got, key.Reveal()[len(RootKeyPrefix):]) {
		t.Error("RedactKeys lets a root key through")
	}
}

func TestFindRootKey(t *testing.T) {
	inEnv, err := NewRootKey()
	if err != nil {
		t.Fatal(err)
	}
	inCredential, err := NewRootKey()
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	// systemd makes credentials readable by the service's user and group.
	if err := os.WriteFile(filepath.Join(credentials, RootKeyCredential), []byte(inCredential.Reveal()+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file string
		env        map[string]string
		want       RootKey
	}{
		{"file", "root.key", nil, RootKeyFile("root.key", true)},
		{"environment before file", "root.key", map[string]string{RootKeyEnv: inEnv.Reveal() + "\n"}, RootKeyText(inEnv)},
		{"credential before environment", "root.key", map[string]string{RootKeyEnv: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": credentials}, RootKeyText(inCredential)},
		{"folder without this credential", "", map[string]string{RootKeyEnv: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": t.TempDir()}, RootKeyText(inEnv)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FindRootKey(tt.file, true, func(name string) string { return tt.env[name] })
			if err != nil {
				t.Fatal(err)
			}
			if got.file != tt.want.file || got.create != tt.want.create || !got.text.Equal(tt.want.text) {
				t.Errorf("got the wrong one (file %q)", got.file)
			}
		})
	}
	if _, err := FindRootKey("", true, func(string) string { return "" }); err == nil {
		t.Error("found a root key where there is none")
	}
}

// Several vaults that start together on an empty folder end up with one root key.
func TestRootKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	root := RootKeyFile(filepath.Join(dir, "root.key"), true)
	done := make(chan error, 4)
	for range cap(done) {
		go func() { done <- openWith(t, dir, root) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".root-key-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
