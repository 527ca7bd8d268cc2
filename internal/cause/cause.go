// Package cause gets at the operating system's reason for an error.
package cause

import (
	"errors"
	"io/fs"
)

// Of returns the reason in an error about a path, without the path and what was done to it, for a message that says these
// already. Other errors are returned as they are.
func Of(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
