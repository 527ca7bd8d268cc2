package cli

import (
	"errors"
	"io"
	"io/fs"
	"testing"
)

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestOutput(t *testing.T) {
	full := errors.New("no space left on device")
	out := &Output{To: failing{&fs.PathError{Op: "write", Path: "/dev/stdout", Err: full}}}
	for range 2 {
		if _, err := io.WriteString(out, "value"); !errors.Is(err, full) {
			t.Errorf("Write: %v", err)
		}
	}
	if out.Err == nil || out.Err.Error() != "write standard output: no space left on device" {
		t.Errorf("error %v", out.Err)
	}
}

func TestColours(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		environ  map[string]string
		want     bool
	}{
		{"a terminal", true, map[string]string{"TERM": "xterm"}, true},
		{"a pipe", false, map[string]string{"TERM": "xterm"}, false},
		{"not wanted", true, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{"an empty NO_COLOR", true, map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true},
		{"a terminal without", true, map[string]string{"TERM": "dumb"}, false},
		{"an unknown terminal", true, nil, false},
	} {
		if got := Colours(tt.terminal, func(name string) string { return tt.environ[name] }); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
