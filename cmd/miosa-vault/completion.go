package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/completion"
)

func (p *program) completion(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell's completion script",
		Example: `  miosa-vault completion bash > /etc/bash_completion.d/miosa-vault
  miosa-vault completion zsh > "${fpath[1]}/_miosa-vault"
  miosa-vault completion fish > ~/.config/fish/completions/miosa-vault.fish`,
		ValidArgs: completion.Shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(completion.Shells, args[0]) {
				return usage("name one shell: "+strings.Join(completion.Shells, ", "), "such as miosa-vault completion bash")
			}
			return nil
		},
		RunE: p.does(func(_ context.Context, args []string) error { return completion.Write(p.stdout, root, args[0]) }),
	}
}
