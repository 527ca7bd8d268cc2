package cli

import (
	"bytes"
	_ "embed" // the script for bash
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// bashScript is our own: cobra's needs the package bash-completion, and runs what is typed.
//
//go:embed completion.bash
var bashScript string

// Completion returns the command completion of a program. It writes to the program's Output.
func Completion(program string) *cobra.Command {
	const examples = `  NAME completion bash > /etc/bash_completion.d/NAME
  NAME completion zsh > "${fpath[1]}/_NAME"
  NAME completion fish > ~/.config/fish/completions/NAME.fish`
	const hint = "name bash, zsh or fish"
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:                   "completion bash|zsh|fish",
		Short:                 "Print a shell's completion script",
		Example:               strings.ReplaceAll(examples, "NAME", program),
		ValidArgs:             shells,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return WithHint(errors.New("want the name of one shell"), hint)
			}
			if _, err := setting.Among(args[0], shells); err != nil {
				return WithHint(errors.New("no completion for "+Quote(args[0])), strings.TrimSpace(nearest.Hint(args[0], shells)+" "+hint))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			shell, err := setting.Among(args[0], shells)
			if err != nil {
				return err
			}
			return writeCompletion(c.OutOrStdout(), c.Root(), shell)
		},
	}
}

func writeCompletion(w io.Writer, program *cobra.Command, shell string) error {
	switch name := program.Name(); shell {
	case "bash":
		script := strings.NewReplacer("FUNCTION", strings.ReplaceAll(name, "-", "_"), "PROGRAM", name).Replace(bashScript)
		_, err := io.WriteString(w, script)
		return err
	case "zsh":
		return program.GenZshCompletion(w)
	}
	var fish bytes.Buffer
	if err := program.GenFishCompletion(&fish, true); err != nil {
		return err
	}
	// Without --, string takes --flag=value for one of its own options.
	_, err := w.Write(bytes.ReplaceAll(fish.Bytes(), []byte(`string split --max 1 \t`), []byte(`string split --max 1 -- \t`)))
	return err
}
