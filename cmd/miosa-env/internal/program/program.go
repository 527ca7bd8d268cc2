// Package program is what all commands of miosa-env share: streams, settings, the key, the log, and text for people.
package program

import (
	"context"
	"io"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Program is one run of miosa-env, from its arguments to its exit code.
type Program struct {
	Args    []string    // after our own name
	Environ Environment // what we were started with
	Version string
	Stdin   io.Reader
	Stdout  *cli.Output
	Stderr  io.Writer

	Settings Settings
	options  []config.Option // of Settings
	Log      zerolog.Logger
	begun    bool // the arguments were understood: errors from here on aren't usage
	Code     int  // the exit code where there is no error
}

// New copies arguments and environment: Scrub overwrites the key in the originals.
func New(version string, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) *Program {
	if len(args) > 0 {
		args = args[1:]
	}
	p := &Program{
		Args: clones(args), Environ: clones(environ), Version: version,
		Stdin: stdin, Stdout: &cli.Output{To: stdout}, Stderr: cli.Redacted{To: stderr}, Log: zerolog.Nop(),
	}
	p.options = p.Settings.Options()
	return p
}

// Begin is the first thing each command does once its arguments are understood.
func (p *Program) Begin(c *cobra.Command) error {
	p.begun = true
	if err := p.complete(c.Flags()); err != nil {
		return err
	}
	p.Log = NewLogger(p.Stderr, p.Settings.LogLevel, p.Settings.LogFormat)
	return nil
}

// Environment is NAME=value strings, as os.Environ gives them.
type Environment []string

// Get returns the value of the first entry of that name, which is the one getenv finds, or "".
func (e Environment) Get(name string) string {
	for _, entry := range e {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// Setting is get without the white space around it: a .env file or YAML may have left some.
func (e Environment) Setting(name string) string { return setting.Trim(e.Get(name)) }

func clones(list []string) []string {
	copies := make([]string, len(list))
	for i, s := range list {
		copies[i] = strings.Clone(s)
	}
	return copies
}

// Execute runs root, and returns the exit code.
func (p *Program) Execute(ctx context.Context, root *cobra.Command) int {
	cli.Prepare(root)
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout.Quiet())
	root.SetErr(p.Stderr)
	asked, err := root.ExecuteContextC(ctx)
	if err == nil && p.Stdout.Err != nil { // of help, --version and what only writes text
		p.begun, err = true, p.Stdout.Err
	}
	if err == nil {
		return p.Code
	}
	if !p.begun {
		err = cli.UsageOf(asked, err)
	}
	cli.Report(p.Stderr, "miosa-env", err)
	return cli.ExitCode(err, command.ExitFailed)
}
