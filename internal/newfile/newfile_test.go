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

func TestPut(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	for _, tt := range []struct {
		name  string
		text  string
		place func(from, to string) error
		want  error
		holds string
	}{
		{"new", "first", os.Link, nil, "first"},
		{"link over a file", "second", os.Link, fs.ErrExist, "first"},
		{"rename over a file", "third", os.Rename, nil, "third"},
	} {
		if err := Put(path, ".new-*", []byte(tt.text), tt.place); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != tt.holds {
			t.Errorf("%s: it holds %q, %v", tt.name, got, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the file is %v, %v", tt.name, info.Mode(), err)
		}
		if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) != 0 {
			t.Errorf("%s: left over: %v, %v", tt.name, left, err)
		}
	}
	if err := Put(filepath.Join(folder, "none", "key"), ".new-*", nil, os.Rename); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}
