package cli

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"io"
	"strings"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// The scripts need no package, and don't expand or run what is typed.
//
//go:embed completion.bash
var bashScript string

//go:embed completion.zsh
var zshScript string

//go:embed completion.fish
var fishScript string

// completionCommand returns the command completion.
func (a *App) completionCommand() *Command {
	const examples = `  NAME completion bash > /etc/bash_completion.d/NAME
  NAME completion zsh > "${fpath[1]}/_NAME"
  NAME completion fish > ~/.config/fish/completions/NAME.fish`
	const hint = "name bash, zsh or fish"
	program := a.Root.Use
	shells := []string{"bash", "zsh", "fish"}
	shell := ""
	return &Command{
		Use:      "completion bash|zsh|fish",
		Short:    "Print a shell's completion script",
		Example:  strings.ReplaceAll(examples, "NAME", program),
		Group:    a.Other,
		Unused:   allFlags,
		Complete: First(Words(shells)),
		Args: func(args []string) (err error) {
			if len(args) != 1 {
				return WithHint(errors.New("want the name of one shell"), hint)
			}
			if shell, err = setting.Among(args[0], shells); err != nil {
				return WithHint(errors.New("no completion for "+Quote(args[0])), Meant(args[0], shells)+hint)
			}
			return nil
		},
		Run: func(context.Context, *Invocation) error {
			script := bashScript
			switch shell {
			case "zsh":
				script = zshScript
			case "fish":
				script = fishScript
			}
			names := strings.NewReplacer("FUNCTION", strings.ReplaceAll(program, "-", "_"), "PROGRAM", program)
			_, err := io.WriteString(a.Out, names.Replace(script))
			return err
		},
	}
}
