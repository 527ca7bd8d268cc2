// Package newfile writes what only its owner may read into new files.
package newfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write makes a file with mode 0600, calls content, and writes what that returns. The file is there before content is
// called, so that a key is only made if it can be written; after an error of either there is no file.
// Errors: fs.ErrExist if there is such a file already.
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

// Put writes text to a temporary file of mode 0600 beside path, named as os.CreateTemp does it by pattern, syncs it, and
// puts it in place: with os.Rename, or with os.Link where nothing may be at path yet. Whenever the machine stops, path
// is what it was before or holds the text. The folder must exist.
func Put(path, pattern string, text []byte, place func(from, to string) error) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, pattern)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // not there any more after a rename
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

// SyncFolder makes the names in a folder last: those of new, renamed and removed files.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
