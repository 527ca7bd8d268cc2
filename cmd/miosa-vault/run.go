package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Exit codes.
const (
	exitFailed = 1
	exitOutput = 125 // standard output failed
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &cli.Output{To: stdout}
	app := &program{stdout: out, stderr: stderr, getenv: os.Getenv}
	root := app.root()
	cli.Prepare(root)
	root.SetArgs(args)
	root.SetOut(out.Quiet())
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = out.Err
	}
	if err == nil {
		return 0
	}
	if !app.begun && out.Err == nil {
		err = cli.UsageOf(command, err)
	}
	cli.Report(cli.Redacted{To: stderr}, "miosa-vault", err) // errors may contain arguments, and so keys
	if out.Err != nil {
		return exitOutput
	}
	return cli.ExitCode(err, exitFailed)
}

// program has what all commands share.
type program struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	begun          bool // the command line was valid, and the command runs
}

func (p *program) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "miosa-vault",
		Short: "Keep secrets, and serve them to the sandboxes they are bound to",
		Long: `miosa-vault keeps secrets, encrypted at rest, and serves them to the sandboxes and computers they
are bound to.

Exit codes: 0 it did what was asked (serve and dev: it was stopped), 1 it couldn't, 2 wrong usage,
125 standard output can't be written.`,
		Example: `  miosa-vault dev --resource sandbox:sb_1          # try it: a vault on loopback that forgets everything
  miosa-vault keys root --out /etc/miosa/root.key  # set one up: a root key, a tenant key, the server
  miosa-vault keys create --tenant acme --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key
  miosa-vault serve --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cli.NoCommand,
		RunE:              func(*cobra.Command, []string) error { return nil }, // Args lets nothing through
	}
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { cli.Help(c, cli.SharedFlags{}) })
	c.SetFlagErrorFunc(cli.FlagError)
	c.SetHelpCommand(cli.HelpCommand())
	c.AddCommand(p.dev(), p.serve(), p.keys(), cli.Completion("miosa-vault"), cli.Version(version))
	cobra.EnableCommandSorting = false
	return c
}

// command returns a command that takes flags only. Errors of do are not usage errors, unless they are a cli.Usage.
func (p *program) command(use, short, long string, do func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: cli.NoArguments, RunE: func(c *cobra.Command, args []string) error {
		p.begun = true
		return do(c.Context(), args)
	}}
}

func usage(message, hint string) error { return cli.Usage(errors.New(message), hint) }
