package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/completion"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Completion is the command completion of a program of this name. It writes to the program's Output.
func Completion(program string) *cobra.Command {
	const examples = `  NAME completion bash > /etc/bash_completion.d/NAME
  NAME completion zsh > "${fpath[1]}/_NAME"
  NAME completion fish > ~/.config/fish/completions/NAME.fish`
	const shells = "name bash, zsh or fish"
	return &cobra.Command{
		Use:                   "completion bash|zsh|fish",
		Short:                 "Print a shell's completion script",
		Example:               strings.ReplaceAll(examples, "NAME", program),
		ValidArgs:             completion.Shells,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return WithHint(errors.New("want the name of one shell"), shells)
			}
			if _, err := setting.Among(args[0], completion.Shells); err != nil {
				hint := nearest.Hint(args[0], completion.Shells) + " " + shells
				return WithHint(errors.New("no completion for "+Quote(args[0])), strings.TrimSpace(hint))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			shell, err := setting.Among(args[0], completion.Shells)
			if err != nil {
				return err
			}
			return completion.Write(c.OutOrStdout(), c.Root(), shell)
		},
	}
}
