package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/harden"
)

// Exit codes.
const (
	exitFailed = 1
	exitOutput = 125 // standard output failed
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := cli.NewOutput(stdout)
	p := &program{stdin: os.Stdin, stdout: out, stderr: stderr, getenv: os.Getenv}
	// Keys and values pass through this process.
	err := errors.Join(harden.ForbidDumps(), harden.ForbidCores())
	if err == nil {
		err = p.app().Execute(ctx, args)
	}
	if err == nil {
		err = out.Err
	}
	if err == nil {
		return 0
	}
	cli.Report(cli.Redacted{To: stderr}, "miosa-vault", err) // errors may contain arguments, and so keys
	if out.Err != nil {
		return exitOutput
	}
	return cli.ExitCode(err, exitFailed)
}

// program has what all commands share.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

func (p *program) app() *cli.App {
	return &cli.App{
		Root: &cli.Command{
			Use: "miosa-vault",
			Long: `miosa-vault stores secrets, encrypted at rest, and serves them to the sandboxes and computers they
are bound to.

Exit codes: 0 success (serve and dev: stopped by a signal), 1 failure, 2 wrong usage, 3 audit verify:
a log was changed, 125 standard output cannot be written.`,
			Example: `  miosa-vault dev --resource sandbox:sb_1          # try it: a temporary vault on loopback
  miosa-vault keys root --out /etc/miosa/root.key  # set one up: a root key, a tenant key, the server
  miosa-vault keys create --tenant acme --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key
  miosa-vault serve --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key`,
			Commands: []*cli.Command{p.dev(), p.serve(), p.keys(), p.audit(), p.migrate()},
		},
		Version:   version,
		Out:       p.stdout,
		SortFlags: true,
	}
}

func usage(message, hint string) error { return cli.Usage(errors.New(message), hint) }
