package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// AbsolutePath returns path as an absolute path if the working directory is known.
func AbsolutePath(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// FileError returns an error about a file that has path in it once.
func FileError(what, path string, err error) error {
	if why := cause.Of(err); !errors.Is(why, err) {
		return fmt.Errorf("%s %s: %w", what, path, why)
	}
	return err
}

// Unreadable returns the error for a file that the user has named and that can't be read.
func Unreadable(what, path string, err error) error {
	return WithHint(fmt.Errorf("%s %s: %w", what, path, cause.Of(err)), "check the path, and that this user may read it; a relative one starts at the working directory")
}
