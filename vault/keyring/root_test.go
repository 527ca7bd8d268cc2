package keyring

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindRootKey(t *testing.T) {
	inEnv, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	inCredential, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	// systemd makes credentials readable by the service's user and group.
	if err := os.WriteFile(filepath.Join(credentials, Credential), []byte(inCredential.Reveal()+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file string
		env        map[string]string
		want       Root
	}{
		{"file", "root.key", nil, Root{File: "root.key"}},
		{"file before the others", "root.key", map[string]string{EnvName: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": credentials}, Root{File: "root.key"}},
		{"environment", "", map[string]string{EnvName: inEnv.Reveal() + "\n"}, Root{Text: inEnv}},
		{"credential before environment", "", map[string]string{EnvName: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": credentials}, Root{Text: inCredential}},
		{"folder without this credential", "", map[string]string{EnvName: inEnv.Reveal(), "CREDENTIALS_DIRECTORY": t.TempDir()}, Root{Text: inEnv}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FindRoot(tt.file, func(name string) string { return tt.env[name] })
			if err != nil {
				t.Fatal(err)
			}
			if got.File != tt.want.File || !got.Text.Equal(tt.want.Text) {
				t.Errorf("got the wrong one (file %q)", got.File)
			}
		})
	}
	if _, err := FindRoot("", func(string) string { return "" }); err == nil {
		t.Error("found a root key where there is none")
	}
}

// A database that loses a rotation, as in a failover, and is rotated again has the same generation with another key.
func TestUnwrapAfterLostRotation(t *testing.T) {
	text, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := New(Root{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	first, err := NewKeys("ten_1")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		rotated, err := first.WithNewKey()
		if err != nil {
			t.Fatal(err)
		}
		w, err := ring.Wrap(rotated, ring.root.primary)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ring.Unwrap(w)
		if err != nil || got.Current() != rotated.Current() {
			t.Errorf("the current key isn't the one that is stored: %v", err)
		}
	}
}

// A vault that can't read the root key's file for a while, after another process has rotated it, keeps the keys that it has, and
// works again when it can.
func TestUnreadableRootKey(t *testing.T) {
	text, err := NewRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.key")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text.Reveal())
	ring, err := New(Root{File: path})
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := NewKeys("ten_1")
	if err != nil {
		t.Fatal(err)
	}
	before, err := ring.Wrap(tenant, ring.root.primary)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(Root{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.changeRoot(opened.withNewPrimary); err != nil {
		t.Fatal(err)
	}
	after, err := other.Wrap(tenant, other.root.primary)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write("unreadable")
	if _, err := ring.Unwrap(after); err == nil {
		t.Error("unwrapped with a key that can't be read")
	}
	if _, err := ring.Unwrap(before); err != nil {
		t.Errorf("the keys in memory are lost: %v", err)
	}
	if n := ring.RootLen(); n != 1 {
		t.Errorf("%d root keys, want 1", n)
	}
	write(string(rotated))
	if _, err := ring.Unwrap(after); err != nil {
		t.Errorf("after the file can be read again: %v", err)
	}
}
