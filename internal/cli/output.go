package cli

import (
	"fmt"
	"io"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// Output is a program's standard output: it passes on what is written to it, and keeps the first error.
type Output struct {
	To  io.Writer
	Err error // says that it is about standard output
}

// Write is To's.
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

// Quiet is for cobra, which drops errors of help and prints those of --version: its writes never fail.
func (o *Output) Quiet() io.Writer { return quiet{o} }

type quiet struct{ to *Output }

func (q quiet) Write(b []byte) (int, error) {
	if q.to.Err == nil {
		_, _ = q.to.Write(b)
	}
	return len(b), nil
}

// Colours reports whether what goes to an output is coloured: to a terminal that has colours, unless NO_COLOR is set.
// Source: no-color.org.
func Colours(terminal bool, getenv func(string) string) bool {
	kind := getenv("TERM")
	return terminal && getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}
