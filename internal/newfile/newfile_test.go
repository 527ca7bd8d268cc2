package newfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
	noneLeft(t, filepath.Dir(path))
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
	noneLeft(t, filepath.Dir(path))
}

func TestPut(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	for _, text := range []string{"first", "second"} {
		if err := Put(path, ".new-*", []byte(text)); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("it holds %q, %v", got, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v", info.Mode(), err)
		}
		noneLeft(t, folder)
	}
	if err := Put(filepath.Join(folder, "none", "key"), ".new-*", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}

// noneLeft checks that there is no temporary file.
func noneLeft(t *testing.T, folder string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestMkdirAll(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(path + "/"); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "a")} {
		if err := MkdirAll(path); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", path, err)
		}
	}
	t.Chdir(folder)
	if err := MkdirAll("d/e"); err != nil {
		t.Error(err)
	}
}
