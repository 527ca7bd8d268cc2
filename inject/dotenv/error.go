package dotenv

import "strconv"

// Error says what is wrong with an env file. It never holds a value.
type Error struct {
	Path   string // empty if unknown
	Line   int    // from 1; 0 if no single line is wrong
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
		text += " line " + strconv.Itoa(e.Line) + " column " + strconv.Itoa(e.Column)
	}
	if e.Err != nil {
		return text + ": " + e.Err.Error()
	}
	return text + ": " + e.Reason
}

// Unwrap returns the operating system's error.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the fix.
func (e *Error) Hint() string {
	if e.Err != nil {
		return "check the path, and that this user may read it; a relative one starts at the working directory"
	}
	return e.Fix
}
