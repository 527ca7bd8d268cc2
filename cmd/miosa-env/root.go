package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/daemon"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/doctor"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/tenant"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// newApp returns the commands of miosa-env.
func newApp(p *program.Program) *cli.App {
	return &cli.App{
		Root: &cli.Command{
			Use: "miosa-env",
			Long: `miosa-env starts a command with the secrets bound to its sandbox or computer in
its environment, and keeps them current while it runs.

It needs a key (in MIOSA_API_KEY, in the file MIOSA_API_KEY_FILE, or in the systemd credential
miosa-api-key) and the id of the sandbox or computer (MIOSA_SANDBOX_ID or MIOSA_COMPUTER_ID).
In MIOSA's sandboxes the platform sets these. There is no flag for the key, because every user
of a machine can read arguments. A flag overrides its variable; an empty variable counts as unset.

The commands that manage a tenant work from any machine. They need a tenant key in
MIOSA_TENANT_KEY, but no sandbox or computer.`,
			Example: `  miosa-env run -- ./server --port 8080
  miosa-env run --on-change restart --mask -- npm start
  eval "$(miosa-env export)"
  miosa-env doctor`,
			Flags:    func(f *pflag.FlagSet) { p.AddFlags(f, "") },
			Commands: commands(p),
		},
		Version:     p.Version,
		Out:         p.Stdout,
		Other:       "Other",
		SharedTitle: "Connection flags, and their variables",
		Variable:    p.VariableOf,
		FlagError:   flagError,
	}
}

// commands returns all commands, or only the one that is asked for if its start should be fast: creating the others takes 20 µs.
func commands(p *program.Program) []*cli.Command {
	first := ""
	if len(p.Args) > 0 {
		first = p.Args[0]
	}
	switch first {
	case "run":
		return []*cli.Command{machine.Run(p)}
	case "export":
		return []*cli.Command{machine.Export(p)}
	case "get":
		return []*cli.Command{machine.Get(p)}
	}
	return slices.Concat(
		grouped("Run commands with secrets", machine.Run(p), machine.Export(p), machine.Get(p), machine.List(p)),
		grouped("Operate a machine", daemon.Command(p), machine.Status(p), machine.Refresh(p), doctor.Command(p)),
		grouped("Manage a tenant", tenant.Commands(p)...),
	)
}

func grouped(title string, commands ...*cli.Command) []*cli.Command {
	for _, c := range commands {
		c.Group = title
	}
	return commands
}

// flagError returns the error for a flag that doesn't exist on purpose, with what to do instead, or for one whose value must not be
// repeated; nil for other errors.
func flagError(err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok && wrong.GetFlag().Name == "bind" {
		// The text isn't repeated: it may be the value by mistake.
		return fmt.Errorf("--bind: %w", errors.Unwrap(err))
	}
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		switch missing.GetSpecifiedName() {
		case "api-key", "apikey", "key", "token", "api-token", "auth-token":
			return cli.WithHint(
				errors.New("a key isn't taken from the command line, where everybody on this machine can read it"),
				"set MIOSA_API_KEY, or give a file that holds it with --key-file FILE")
		case "value", "secret-value", "password":
			return tenant.RefusedValue()
		}
	}
	return nil
}
