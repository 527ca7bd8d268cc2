package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// Output is a program's standard output. It keeps the first error.
type Output struct {
	To  io.Writer
	Err error // mentions standard output
}

// NewOutput returns an Output that writes to w. Writes fail if w is os.Stdout and was closed at the start: in its place, Go's
// runtime has opened /dev/null, which accepts everything. Only Linux tells.
func NewOutput(w io.Writer) *Output {
	if w == os.Stdout && stdoutWasClosed() {
		w = closedOutput{}
	}
	return &Output{To: w}
}

type closedOutput struct{}

func (closedOutput) Write([]byte) (int, error) { return 0, syscall.EBADF }

func (o *Output) Write(b []byte) (int, error) {
	n, err := o.To.Write(b)
	if err == nil {
		return n, nil
	}
	err = fmt.Errorf("write standard output: %w", cause.Of(err))
	if o.Err == nil {
		o.Err = err
	}
	return n, err
}

// PrintJSON writes v as indented JSON.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Colours reports whether to use colours: on a terminal that supports them, unless NO_COLOR is set.
// Source: no-color.org.
func Colours(terminal bool, getenv func(string) string) bool {
	kind := getenv("TERM")
	return terminal && getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}
