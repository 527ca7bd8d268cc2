package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/harden"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Exit codes.
const (
	exitFailed = 1
	exitClosed = 3   // status: at least one resource has no set
	exitOutput = 125 // standard output failed
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := cli.NewOutput(stdout)
	p := &program{stdout: out, stderr: cli.Redacted{To: stderr}, getenv: os.Getenv}
	p.options = p.given.Options()
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
	cli.Report(p.stderr, "miosa-egress", err)
	if out.Err != nil {
		return exitOutput
	}
	return cli.ExitCode(err, exitFailed)
}

// program has what all commands share.
type program struct {
	stdout, stderr io.Writer
	getenv         func(string) string

	given   config.Config // what flags and variables have set
	options []option.Option
}

func (p *program) app() *cli.App {
	return &cli.App{
		Root: &cli.Command{
			Use: "miosa-egress",
			Long: `miosa-egress is the egress broker, a proxy for the requests of sandboxes. It runs outside of them. In
requests to the hosts that a secret's egress rule names, it replaces placeholders with the value, and it
removes the value from the responses. The sandbox never has the value.

It needs a broker key (miosa-env keys create --broker) and a configuration.

Exit codes: 0 success (serve: stopped by a signal), 1 failure, 2 wrong usage, 3 status: a resource has
no set, so its requests are refused, 125 standard output cannot be written.`,
			Example: `  miosa-egress check
  miosa-egress serve --config /etc/miosa-egress/egress.toml
  miosa-egress status
  miosa-egress ca sandbox:sb_1 > ca.pem`,
			Flags:    func(f *pflag.FlagSet) { option.AddFlags(f, p.options, "") },
			Commands: []*cli.Command{p.serve(), p.check(), p.status(), p.ca()},
		},
		Version:     version,
		Out:         p.stdout,
		SharedTitle: "Flags of all commands",
		Variable:    func(f *pflag.Flag) string { return option.VariableOf(p.options, f) },
	}
}

// setting returns an environment variable without white space around it.
func (p *program) setting(name string) string { return setting.Trim(p.getenv(name)) }

// begin completes what flags have set from the environment. Each command calls it first. A malformed URL of a flag is an error of the
// command line.
func (p *program) begin(f *pflag.FlagSet) error {
	given := fetch.Config{BaseURL: p.given.BaseURL, Proxy: p.given.Proxy, Key: api.NewKey(api.BrokerKeyPrefix)} // any key will do
	if err := given.Validate(); err != nil {
		err = cli.Problems(err)[0]
		return cli.Usage(err, cli.Hint(err))
	}
	return errors.Join(option.Variables(p.options, p.setting, func(o option.Option) bool {
		flag := f.Lookup(o.Flag)
		return flag != nil && !flag.Changed
	})...)
}
