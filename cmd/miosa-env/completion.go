package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func (p *program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell's completion script",
		Example: `  miosa-env completion bash > /etc/bash_completion.d/miosa-env
  miosa-env completion zsh > "${fpath[1]}/_miosa-env"
  miosa-env completion fish > ~/.config/fish/completions/miosa-env.fish`,
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
		Annotations:           map[string]string{noConnection: "true"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one shell: bash, zsh or fish")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.stdout)
			case "fish":
				return root.GenFishCompletion(p.stdout, true)
			}
			return errors.New("no completion for " + quoted(args[0]) + ": name bash, zsh or fish")
		},
	}
}
