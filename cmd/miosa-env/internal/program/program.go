// Package program is what all commands of miosa-env share: streams, settings, the key, the log, and text for people.
package program

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/logger"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// CompletionPatience is the longest that completion may take.
const CompletionPatience = 1500 * time.Millisecond

// Program is one run of miosa-env.
type Program struct {
	Args    []string // without the program's name
	Environ Environment
	Version string
	Stdin   io.Reader
	Stdout  *cli.Output
	Stderr  io.Writer

	Settings Settings
	options  []option.Option // of Settings
	Log      zerolog.Logger
	Code     int // the exit code if there is no error
}

// New copies arguments and environment: Scrub overwrites the key in the originals.
func New(version string, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) *Program {
	if len(args) > 0 {
		args = args[1:]
	}
	clone := func(s *string) string { return strings.Clone(*s) }
	p := &Program{
		Args: cli.Texts(args, clone), Environ: cli.Texts(environ, clone), Version: version,
		Stdin: stdin, Stdout: cli.NewOutput(stdout), Stderr: cli.Redacted{To: stderr}, Log: zerolog.Nop(),
	}
	p.options = p.Settings.Options()
	return p
}

// Begin is Complete, and checks the flags. Each command but doctor, which reports such problems too, calls it first.
func (p *Program) Begin(f *pflag.FlagSet) error {
	if err := p.Complete(f); err != nil {
		return err
	}
	return p.checkFlags(f)
}

// Complete completes the settings from the environment and starts the log.
func (p *Program) Complete(f *pflag.FlagSet) error {
	if err := p.complete(f); err != nil {
		return err
	}
	p.Log = logger.New(p.Stderr, "miosa-env", p.Settings.LogLevel, p.Settings.LogFormat)
	return nil
}

// Environment holds NAME=value strings, as in os.Environ.
type Environment []string

// Get returns the value of a variable like getenv, which uses the first entry; "" if there is none.
func (e Environment) Get(name string) string {
	for _, entry := range e {
		if n := len(name); len(entry) > n && entry[n] == '=' && entry[:n] == name {
			return entry[n+1:]
		}
	}
	return ""
}

// Setting returns the value of a variable without white space around it, which .env files and YAML may leave.
func (e Environment) Setting(name string) string { return setting.Trim(e.Get(name)) }

// Execute runs the command that the arguments ask for, reports its error, and returns the exit code.
func (p *Program) Execute(ctx context.Context, app *cli.App) int {
	err := app.Execute(ctx, p.Args)
	if err == nil {
		err = p.Stdout.Err
	}
	if err == nil {
		return p.Code
	}
	cli.Report(p.Stderr, "miosa-env", err)
	return cli.ExitCode(err, command.ExitFailed)
}
