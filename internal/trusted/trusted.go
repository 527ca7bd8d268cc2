// Package trusted checks that no other user can change a file, or put another one in its place.
package trusted

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Error names a part of a path that another user can change.
type Error struct {
	Path string // the part: the file itself, a directory above it, or a symlink
	Self bool   // it is the file itself
	UID  int    // its owner, if that is another user; -1: others may write to it
}

func (e *Error) Error() string {
	if e.UID < 0 {
		return "others may write to " + e.Path
	}
	return fmt.Sprintf("%s belongs to uid %d", e.Path, e.UID)
}

// Fix is the command that removes the problem.
func (e *Error) Fix() string {
	if e.UID < 0 {
		return "chmod go-w " + e.Path
	}
	return fmt.Sprintf("chown %d %s", os.Geteuid(), e.Path)
}

// maxLinks is the number of symlinks in a path, as in Linux.
const maxLinks = 40

// Check returns an *Error if another user than root can change what is at path, including what its symlinks lead to and all
// directories above. In a directory with the sticky bit, such as /tmp, others can't replace what isn't theirs. A part of the path
// that is missing ends the check.
func Check(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, rest := "/", parts(path)
	for links := 0; ; {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := check(at, info, len(rest) == 0); err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			at = filepath.Dir(at)
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(parts(target), rest...)
		}
		if len(rest) == 0 {
			return nil
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:] // at has no symlink, so .. is the directory above
	}
}

// check checks one part of a path. self says that it is the last one.
func check(path string, info fs.FileInfo, self bool) error {
	mode, link := info.Mode(), info.Mode().Type() == fs.ModeSymlink
	self = self && !link
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return &Error{path, self, int(st.Uid)}
	}
	// Nobody writes to a symlink, and its mode says nothing.
	if !link && mode.Perm()&0o022 != 0 && (self || mode&fs.ModeSticky == 0) {
		return &Error{path, self, -1}
	}
	return nil
}

// parts splits a path.
func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
