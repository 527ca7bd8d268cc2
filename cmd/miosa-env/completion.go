package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/completion"
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
			return completion.Write(p.stdout, c.Root(), args[0])
		},
	}
}
