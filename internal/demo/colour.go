package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// colour says whether what is printed may be coloured.
type colour bool

// colourOf allows colours where cli.Colours does.
func colourOf(out io.Writer) colour {
	f, ok := out.(*os.File)
	return colour(cli.Colours(ok && term.IsTerminal(int(f.Fd())), os.Getenv))
}

func (c colour) step(s string) string    { return c.as("1", s) }  // bold
func (c colour) command(s string) string { return c.as("36", s) } // cyan
func (c colour) value(s string) string   { return c.as("32", s) } // green

func (c colour) as(code, s string) string {
	if !c {
		return s
	}
	return "\033[" + code + "m" + s + "\033[0m"
}
