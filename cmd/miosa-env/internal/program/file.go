package program

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// AbsolutePath is path as it is meant where we were started.
func AbsolutePath(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// FileError says what and path once.
func FileError(what, path string, err error) error {
	if why := cause.Of(err); !errors.Is(why, err) {
		return fmt.Errorf("%s %s: %w", what, path, why)
	}
	return err
}

// Unreadable returns the error for a file that a user has named, with path in it once.
func Unreadable(what, path string, err error) error {
	return cli.WithHint(fmt.Errorf("%s %s: %w", what, path, cause.Of(err)), "check the path, and that this user may read it; a relative one starts at the working directory")
}
