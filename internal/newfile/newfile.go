// Package newfile writes files that only their owner may read.
package newfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write creates a file with mode 0600 and the result of content, and syncs it and its folder. It creates a temporary file first, so
// that a key is only made if it can be written. After an error, and if the machine stops, there is no file or the whole one.
// Errors: fs.ErrExist if the file exists.
func Write(path string, content func() (string, error)) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "open", Path: path, Err: syscall.EEXIST}
	}
	return put(path, "."+filepath.Base(path)+".new-*", func(f *os.File) error {
		text, err := content()
		if err == nil {
			_, err = f.WriteString(text)
		}
		return err
	}, os.Link)
}

// Put replaces a file by text, through a temporary file of mode 0600 in its folder, whose name os.CreateTemp makes from pattern,
// and syncs both. If the machine stops, path has its old content or text. The folder must exist.
func Put(path, pattern string, text []byte) error {
	return put(path, pattern, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	}, os.Rename)
}

func put(path, pattern string, write func(*os.File) error, place func(from, to string) error) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, pattern)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		failed.Path = path // the temporary name says nothing to users
	}
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename there is none
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return SyncFolder(folder)
}

// MkdirAll is os.MkdirAll with mode 0700, and syncs the folders in which it creates others.
func MkdirAll(path string) error {
	path = filepath.Clean(path)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(path, 0o700)
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncFolder(parent)
}

// SyncFolder syncs a folder, so that new, renamed and removed names survive a crash.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
