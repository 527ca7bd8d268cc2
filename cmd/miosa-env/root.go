package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/daemon"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/doctor"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/machine"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/tenant"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

func rootCommand(p *program.Program) *cobra.Command {
	root := &cobra.Command{
		Use:   "miosa-env",
		Short: "Run a command with the secrets bound to its sandbox or computer",
		Long: `miosa-env starts a command with the secrets bound to its sandbox or computer in
its environment, and keeps them current while it runs.

It needs a key (in MIOSA_API_KEY, in a file that MIOSA_API_KEY_FILE names, or in the systemd
credential miosa-api-key) and the id of the sandbox or computer (MIOSA_SANDBOX_ID or
MIOSA_COMPUTER_ID). In MIOSA's sandboxes the platform has set these. There is no flag for
the key, since every user of a machine can read arguments. A flag comes before its variable, and
an empty variable counts as not set.

The commands that manage a tenant work from anywhere. They need a tenant key in
MIOSA_TENANT_KEY, and no sandbox or computer.`,
		Example: `  miosa-env run -- ./server --port 8080
  miosa-env run --on-change restart --mask -- npm start
  eval "$(miosa-env export)"
  miosa-env doctor`,
		Args:               cli.NoCommand,
		RunE:               func(*cobra.Command, []string) error { return nil }, // Args lets nothing through
		Version:            p.Version,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		CompletionOptions:  cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	help := showHelp(p)
	root.SetHelpFunc(help)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(func(c *cobra.Command) error { help(c, nil); return nil })
	root.SetHelpCommand(cli.HelpCommand())
	root.PersistentFlags().SortFlags = false
	p.AddFlags(root.PersistentFlags(), "")
	root.AddGroup(groups()...)
	root.AddCommand(commands(p)...)
	if len(p.Args) > 0 && (p.Args[0] == cobra.ShellCompRequestCmd || p.Args[0] == cobra.ShellCompNoDescRequestCmd) {
		machine.CompleteFlagWords(p, root)
	}
	cobra.EnableCommandSorting = false
	return root
}

// commands returns all commands, or only the given one if its start should be fast: creating the others takes a noticeable part
// of it.
func commands(p *program.Program) []*cobra.Command {
	first := ""
	if len(p.Args) > 0 {
		first = p.Args[0]
	}
	switch first {
	case "run":
		return []*cobra.Command{machine.Run(p)}
	case "export":
		return []*cobra.Command{machine.Export(p)}
	case "get":
		return []*cobra.Command{machine.Get(p)}
	}
	return slices.Concat(
		grouped(groupRun, machine.Run(p), machine.Export(p), machine.Get(p), machine.List(p)),
		grouped(groupMachine, daemon.Command(p), machine.Status(p), machine.Refresh(p), doctor.Command(p)),
		grouped(groupTenant, tenant.Commands(p)...),
		grouped(groupOther, alone(cli.Completion("miosa-env")), alone(cli.Version(p.Version))),
	)
}

// flagError adds to an error about a flag which one was probably meant. For flags that are missing on purpose it says what to
// do instead.
func flagError(c *cobra.Command, err error) error {
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
	return cli.FlagError(c, err)
}
