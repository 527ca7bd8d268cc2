package envfile

import "strconv"

// Error is what is wrong with an env file, never what is in it.
type Error struct {
	Path   string // empty: unknown
	Line   int    // from 1; 0: of no single line
	Column int    // from 1, in characters
	Reason string
	Fix    string
	Err    error // from the operating system, or nil
}

func (e *Error) Error() string {
	text := "env file"
	if e.Path != "" {
		text += " " + e.Path
	}
	if e.Line > 0 {
		text += " line " + decimal(e.Line) + " column " + decimal(e.Column)
	}
	if e.Err != nil {
		return text + ": " + e.Err.Error()
	}
	return text + ": " + e.Reason
}

// Unwrap returns the operating system's reason.
func (e *Error) Unwrap() error { return e.Err }

// Hint is the fix.
func (e *Error) Hint() string {
	if e.Err != nil {
		return "check the path, and that this user may read it; a relative one starts at the working directory"
	}
	return e.Fix
}

func decimal(n int) string { return strconv.Itoa(n) }
