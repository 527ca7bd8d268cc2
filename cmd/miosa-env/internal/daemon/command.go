// Package daemon is the command agent: it wires the engine, its outputs and its sockets from a configuration, and takes up changes
// of that configuration.
package daemon

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Command returns the command agent.
func Command(p *program.Program) *cli.Command {
	var check bool
	return &cli.Command{
		Use:   "agent [FLAG...]",
		Short: "Keep this machine's values current: in files, in a cache and on a local socket",
		Long: `Runs in the foreground and keeps the values bound to this sandbox or computer current: through
rotations, which reach it at once, outages of the vault, and suspends of this machine. It writes
them to the files in its configuration, and serves them on a socket to run, export, get and list,
which then need neither key nor network.

Changes to the configuration, the key file and the CA file take effect without a restart; HUP
rereads them too. An invalid configuration is refused with its line numbers, and the old one
stays in effect. TERM and INT stop the agent, which removes its files except those with keep.`,
		Example: `  miosa-env agent
  miosa-env agent --config agent.toml --check
  miosa-env status --watch`,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&check, "check", false, "validate the configuration and exit")
			p.AddFlags(f, "agent")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			if err := program.RequireLinux("agent"); err != nil {
				return err
			}
			at := configFile{path: p.Settings.Path, given: p.Settings.Path != "" || inv.Flags.Changed("config")}
			if !at.given {
				at.path = config.DefaultPath
			}
			if check {
				return checkDaemon(p, at, inv.Flags)
			}
			return program.InBackground(ctx, newDaemon(p, at, inv.Flags).run)
		},
	}
}

// checkDaemon reports the problems that starting with a configuration would have.
func checkDaemon(p *program.Program, at configFile, flags *pflag.FlagSet) error {
	conf, err := loadDaemon(p, at, flags, true)
	if err != nil {
		return err
	}
	text := at.path + " is fine"
	if conf.absent {
		text = "there is no " + at.path + "; flags, environment and defaults are fine"
	}
	_, err = fmt.Fprintf(p.Stdout, "%s: %s\n", text, conf.summary())
	return err
}
