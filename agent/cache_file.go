package agent

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

// leftover is how old a file must be that an interrupted replaceOwn left, before another removes it: a
// younger one may be in use.
const leftover = time.Minute

// readOwn reads a file of at most limit bytes that nobody else may change: its owner is this user or
// root, and so is its folder's.
func readOwn(path string, limit int64) ([]byte, error) {
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // a pipe would block
	if errors.Is(err, syscall.ELOOP) {
		return nil, ErrCacheUnsafe
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !ours(info) {
		return nil, ErrCacheUnsafe
	}
	if info.Size() > limit {
		return nil, ErrCacheDamaged
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, ErrCacheDamaged // cut while it was read
	}
	return text, nil
}

// replaceOwn writes a file of mode 0600 and moves it into place: whoever looks, and whenever this
// machine loses power, finds the old file or the new one.
func replaceOwn(path string, text []byte) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := checkFolder(folder); err != nil {
		return err
	}
	sweep(path, leftover)
	return newfile.Put(path, prefix(path)+"*", text, os.Rename)
}

// removeOwn removes a file and all leftovers.
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

// sweep removes what interrupted replacements left, from an age on.
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

// prefix begins the names of files that are being written.
func prefix(path string) string { return "." + filepath.Base(path) + ".new-" }

// checkFolder refuses a folder in which others could put a file of their own in place of ours.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() || !ours(info) {
		return ErrCacheUnsafe
	}
	return nil
}

// ours tells whether only this user and root may change a file.
func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}
