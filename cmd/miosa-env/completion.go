package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/completion"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

func (p *program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell's completion script",
		Example: `  miosa-env completion bash > /etc/bash_completion.d/miosa-env
  miosa-env completion zsh > "${fpath[1]}/_miosa-env"
  miosa-env completion fish > ~/.config/fish/completions/miosa-env.fish`,
		ValidArgs:             completion.Shells,
		DisableFlagsInUseLine: true,
		Annotations:           map[string]string{noConnection: "true"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one shell: bash, zsh or fish")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			shell, err := setting.Among(args[0], completion.Shells)
			if err != nil {
				return hinted{errors.New("no completion for " + quoted(args[0])), meant(args[0], completion.Shells) + "name bash, zsh or fish"}
			}
			p.begun = true
			if err := completion.Write(p.stdout, c.Root(), shell); err != nil {
				return fmt.Errorf("write completion script: %w", bareError(err))
			}
			return nil
		},
	}
}
