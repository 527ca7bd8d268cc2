package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// Output is a program's standard output. It keeps the first error.
type Output struct {
	To  io.Writer
	Err error // mentions standard output
}

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
