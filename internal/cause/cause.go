// Package cause extracts the operating system's error from an error about a path.
package cause

import (
	"errors"
	"io/fs"
)

// Of returns the error inside a *fs.PathError, for messages that contain the operation and the path already. It returns other
// errors unchanged.
func Of(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
