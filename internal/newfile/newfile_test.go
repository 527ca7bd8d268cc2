package newfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	text := func() (string, error) { return "text\n", nil }
	if err := Write(path, text); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "text\n" {
		t.Errorf("it holds %q, %v", got, err)
	}
	called := false
	err = Write(path, func() (string, error) { called = true; return text() })
	if !errors.Is(err, fs.ErrExist) || called {
		t.Errorf("over a file that is there: %v, content made: %v", err, called)
	}
}

func TestWriteLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	want := errors.New("refused")
	if err := Write(path, func() (string, error) { return "", want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}
