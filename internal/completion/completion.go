// Package completion writes the completion scripts of the two programs.
package completion

import (
	"bytes"
	_ "embed" // the script for bash
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Shells are those there is a script for.
var Shells = []string{"bash", "zsh", "fish"}

//go:embed completion.bash
var bash string

// Write writes a shell's script for a program. That for bash is our own: cobra's needs the package bash-completion,
// and runs what is typed.
func Write(w io.Writer, program *cobra.Command, shell string) error {
	switch shell {
	case "bash":
		script := strings.NewReplacer("FUNCTION", strings.ReplaceAll(program.Name(), "-", "_"), "PROGRAM", program.Name()).Replace(bash)
		_, err := io.WriteString(w, script)
		return err
	case "zsh":
		return program.GenZshCompletion(w)
	case "fish":
		var script bytes.Buffer
		if err := program.GenFishCompletion(&script, true); err != nil {
			return err
		}
		// Without -- the string --flag=value is taken for an option of fish's own.
		_, err := w.Write(bytes.ReplaceAll(script.Bytes(), []byte(`string split --max 1 \t`), []byte(`string split --max 1 -- \t`)))
		return err
	}
	return fmt.Errorf("no completion for %q: name bash, zsh or fish", shell)
}
