package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
)

// leftover is the age from which temporary files are removed: younger ones may be in use.
const leftover = time.Minute

// readOwn reads a file of at most limit bytes. It refuses one that another user could have changed or replaced.
func readOwn(path string, limit int64) ([]byte, error) {
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // a pipe would block
	if errors.Is(err, syscall.ELOOP) {
		return nil, errUnsafe
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !newfile.Ours(info) {
		return nil, errUnsafe
	}
	if info.Size() > limit {
		return nil, errDamaged
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, errDamaged // cut while it was read
	}
	return text, nil
}

// replaceOwn replaces a file atomically, also across a loss of power. Its mode is 0600.
func replaceOwn(path string, text []byte) error {
	folder := filepath.Dir(path)
	if err := newfile.MkdirAll(folder); err != nil {
		return err
	}
	if err := checkFolder(folder); err != nil {
		return err
	}
	sweep(path, leftover)
	return newfile.Put(path, prefix(path)+"*", text)
}

// removeOwn removes a file and all its temporary files.
func removeOwn(path string) error {
	sweep(path, 0)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return newfile.SyncFolder(filepath.Dir(path))
}

// sweep removes temporary files older than age, which interrupted replacements have left. With age 0 it removes all.
func sweep(path string, age time.Duration) {
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix(path)) {
			continue
		}
		if info, err := e.Info(); err == nil && (age == 0 || time.Since(info.ModTime()) > age) {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// prefix returns the prefix of the names of temporary files.
func prefix(path string) string { return "." + filepath.Base(path) + ".new-" }

// checkFolder refuses a directory in which another user could replace our file.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() || !newfile.Ours(info) {
		return errUnsafe
	}
	return nil
}
