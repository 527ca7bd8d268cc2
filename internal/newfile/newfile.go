// Package newfile writes files that only their owner may read.
package newfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write creates a file with mode 0600 and writes the result of content. It creates the file first, so that a key is only made
// if it can be written. After an error there is no file.
// Errors: fs.ErrExist if the file exists.
func Write(path string, content func() (string, error)) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	text, err := content()
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// Put writes text to a temporary file of mode 0600 in the folder of path, whose name os.CreateTemp makes from pattern, syncs it,
// and calls place with its name and path: os.Rename, or os.Link if path must not exist. If the machine stops, path has its
// old content or text. The folder must exist.
func Put(path, pattern string, text []byte, place func(from, to string) error) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, pattern)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename there is none
	_, err = f.Write(text)
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

// SyncFolder syncs a folder, so that new, renamed and removed names survive a crash.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
