package program

import (
	"os"

	"golang.org/x/term"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// TerminalOf returns the terminal behind a reader or writer, if there is one.
func TerminalOf(r any) (*os.File, bool) {
	switch to := r.(type) {
	case *cli.Output:
		return TerminalOf(to.To)
	case cli.Redacted:
		return TerminalOf(to.To)
	}
	f, ok := r.(*os.File)
	return f, ok && f != nil && term.IsTerminal(int(f.Fd()))
}

// Colours reports whether to write colors to a writer.
func (p *Program) Colours(to any) bool {
	_, terminal := TerminalOf(to)
	return cli.Colours(terminal, p.Environ.Get)
}
