package inject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/joho/godotenv"
)

// maxEnvFile is the longest env file we read, in bytes: more than any kernel lets a command have.
const maxEnvFile = 8 << 20

// FileError says what is wrong with an env file, never what stands in it.
type FileError struct {
	Path   string
	Line   int // from 1; 0: not known
	Reason string
	Err    error // from the operating system, or nil
}

func (e *FileError) Error() string {
	at := "env file " + e.Path
	if e.Line > 0 {
		at += " line " + strconv.Itoa(e.Line)
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %s", at, e.Err)
	}
	return at + ": " + e.Reason
}

// Unwrap gives the operating system's reason.
func (e *FileError) Unwrap() error { return e.Err }

// readEnvFile returns the variables of a file, read with godotenv.Parse. So: NAME=value or NAME: value,
// "export" before it allowed; # starts a comment at a line's beginning or after white space; a value
// in single quotes is taken as it stands, over several lines if need be; in double quotes \n, \r and a
// backslash before any other character are unescaped; outside single quotes $NAME and ${NAME}, in
// capitals, stand for variables set earlier in the same file (and for nothing where there is none,
// the environment isn't asked); CRLF counts as LF. A byte order mark is passed over.
//
// Errors: *FileError, also for a file over 8 MiB, a line without a name, white space in a name and
// a NUL byte.
func readEnvFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &FileError{Path: path, Err: bare(err)}
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return nil, &FileError{Path: path, Err: bare(err)}
	}
	if len(text) > maxEnvFile {
		return nil, &FileError{Path: path, Reason: "longer than 8 MiB"}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if at := bytes.IndexByte(text, 0); at >= 0 {
		return nil, &FileError{Path: path, Line: 1 + bytes.Count(text[:at], []byte("\n")), Reason: "a NUL byte"}
	}
	values, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, parseError(path, text, err)
	}
	for name := range values {
		switch {
		case name == "":
			return nil, &FileError{Path: path, Reason: "a line without NAME="}
		case strings.ContainsFunc(name, unicode.IsSpace):
			return nil, &FileError{Path: path, Reason: "a name with white space in it"}
		}
	}
	return values, nil
}

// bare drops the path that FileError says already.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// parseError tells the line of what godotenv refused. Its own errors repeat the file's content, which
// is where the line can be found from, and why they go no further.
func parseError(path string, text []byte, err error) error {
	e := &FileError{Path: path, Reason: "not in the form NAME=value"}
	source := strings.ReplaceAll(string(text), "\r\n", "\n")
	at := -1
	if _, rest, ok := strings.Cut(err.Error(), " in variable name near "); ok {
		if tail, err := strconv.Unquote(rest); err == nil && strings.HasSuffix(source, tail) {
			at = len(source) - len(tail)
		}
	} else if start, ok := strings.CutPrefix(err.Error(), "unterminated quoted value "); ok {
		e.Reason = "a quote that isn't closed"
		// Had the same text stood further down, its quote would have closed this one, but for \".
		for at = strings.LastIndex(source, start); at > 0 && source[at-1] == '\\'; {
			at = strings.LastIndex(source[:at], start)
		}
	}
	if at >= 0 {
		e.Line = 1 + strings.Count(source[:at], "\n")
	}
	return e
}
