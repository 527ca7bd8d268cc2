package option

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// maxBytes limits the size of a configuration.
const maxBytes = 1 << 20

// Origin is where a table of a configuration and its fields are. The zero Origin is of no file.
type Origin struct {
	file  string
	table int            // line of the table's header; 0: the fields above all tables
	lines map[string]int // line of each field that the file sets
}

// Sets reports whether the value of a field comes from the file.
func (o *Origin) Sets(field string) bool { return o.lines[field] > 0 }

// Unset notes that the value of a field comes from elsewhere.
func (o *Origin) Unset(field string) { delete(o.lines, field) }

// Line returns the line of a field, or if the file doesn't set it, of its table; 0: none.
func (o *Origin) Line(field string) int { return cmp.Or(o.lines[field], o.table) }

// Problem adds to an error about the value of a field where the file sets it. The error is returned as it is if the
// file has nothing to do with it.
func (o *Origin) Problem(field string, err error) error {
	line := o.Line(field)
	if line == 0 {
		return err
	}
	return &Error{File: o.file, Line: line, Err: err}
}

// Error is a problem in a configuration. It contains no value that may be a secret.
type Error struct {
	File string
	Line int // from 1; 0: not about one line
	Err  error
	Fix  string // or empty
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Err)
	}
	return fmt.Sprintf("%s line %d: %s", e.File, e.Line, e.Err)
}

// SortByLine sorts problems by their lines in the file. Problems without a line come last.
func SortByLine(problems []error) {
	line := func(problem error) int {
		if at, ok := errors.AsType[*Error](problem); ok && at.Line > 0 {
			return at.Line
		}
		return math.MaxInt32
	}
	slices.SortStableFunc(problems, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
}

// Unwrap returns the error without its place.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns how to fix it, or "".
func (e *Error) Hint() string {
	if e.Fix != "" {
		return e.Fix
	}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](e.Err); ok {
		return h.Hint()
	}
	return ""
}

// Load returns the text of a configuration, or a little more than maxBytes of it.
// Errors: fs.ErrNotExist and others of the system, with the path, as Open returns them.
func Load(path string) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// Open opens a file that is read again whenever it changes. It may be reached through symlinks, but must be a regular file:
// a pipe would block the agent.
// Errors: of the system, with the path.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		kinds := map[fs.FileMode]string{fs.ModeDir: "directory", fs.ModeNamedPipe: "pipe", fs.ModeSocket: "socket"}
		kind := cmp.Or(kinds[info.Mode().Type()], "device")
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("want a regular file, not a " + kind)}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
