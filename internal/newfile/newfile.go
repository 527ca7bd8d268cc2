// Package newfile writes what only its owner may read into a new file.
package newfile

import (
	"errors"
	"os"
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
