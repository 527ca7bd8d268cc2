package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/flags"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// program is one run of miosa-env, from its arguments to its exit code.
type program struct {
	args    []string    // after our own name
	environ environment // what we were started with
	stdin   io.Reader
	stdout  *cli.Output
	stderr  io.Writer

	settings settings
	log      zerolog.Logger
	begun    bool // the arguments were understood: errors from here on aren't usage
	code     int  // the exit code where there is no error
}

// newProgram copies arguments and environment: Scrub overwrites the key in the originals.
func newProgram(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) *program {
	if len(args) > 0 {
		args = args[1:]
	}
	return &program{
		args: clones(args), environ: clones(environ),
		stdin: stdin, stdout: &cli.Output{To: stdout}, stderr: cli.Redacted{To: stderr}, log: zerolog.Nop(),
	}
}

func (p *program) execute(ctx context.Context) int {
	root := p.rootCommand()
	flags.Prepare(root)
	root.SetArgs(p.args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout.Quiet())
	root.SetErr(p.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil && p.stdout.Err != nil { // of help, --version and what only writes text
		p.begun, err = true, p.stdout.Err
	}
	if err == nil {
		return p.code
	}
	if !p.begun {
		err = cli.UsageOf(command, err)
	}
	cli.Report(p.stderr, "miosa-env", err)
	return cli.ExitCode(err, inject.ExitFailed)
}

func (p *program) rootCommand() *cobra.Command {
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
		Version:            version,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		CompletionOptions:  cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpFunc(showHelp)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(func(c *cobra.Command) error { showHelp(c, nil); return nil })
	root.SetHelpCommand(cli.HelpCommand())
	p.settings.addFlags(root.PersistentFlags())
	root.AddGroup(groups()...)
	root.AddCommand(p.commands()...)
	if len(p.args) > 0 && (p.args[0] == cobra.ShellCompRequestCmd || p.args[0] == cobra.ShellCompNoDescRequestCmd) {
		p.completeFlagWords(root)
	}
	cobra.EnableCommandSorting = false
	return root
}

// commands are all there are, or the one alone that was asked for, where that is one that other commands
// wait for: making the others is a noticeable part of its start.
func (p *program) commands() []*cobra.Command {
	first := ""
	if len(p.args) > 0 {
		first = p.args[0]
	}
	switch first {
	case "run":
		return []*cobra.Command{p.runCommand()}
	case "export":
		return []*cobra.Command{p.exportCommand()}
	case "get":
		return []*cobra.Command{p.getCommand()}
	}
	return slices.Concat(
		grouped(groupRun, p.runCommand(), p.exportCommand(), p.getCommand(), p.listCommand()),
		grouped(groupMachine, p.agentCommand(), p.statusCommand(), p.refreshCommand(), p.doctorCommand()),
		grouped(groupTenant, p.secretsCommand(), p.bindingsCommand(), p.importCommand(), p.oauthCommand(), p.keysCommand(), p.auditCommand()),
		grouped(groupOther, alone(cli.Completion("miosa-env")), alone(cli.Version(version))),
	)
}

// flagError adds which flag was probably meant, and what to do instead for those who look for a flag that isn't
// there on purpose.
func flagError(c *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok && wrong.GetFlag().Name == "bind" {
		// What was given isn't repeated: it may be the value, by mistake.
		return fmt.Errorf("--bind: %w", errors.Unwrap(err))
	}
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		switch missing.GetSpecifiedName() {
		case "api-key", "apikey", "key", "token", "api-token", "auth-token":
			return cli.WithHint(
				errors.New("a key isn't taken from the command line, where everybody on this machine can read it"),
				"set MIOSA_API_KEY, or give a file that holds it with --key-file FILE")
		case "value", "secret-value", "password":
			return refusedValue()
		}
	}
	return cli.FlagError(c, err)
}

// begin is the first thing each command does once its arguments are understood.
func (p *program) begin(c *cobra.Command) error {
	p.begun = true
	if err := p.settings.complete(c.Flags(), p.environ); err != nil {
		return err
	}
	p.log = newLogger(p.stderr, p.settings.logLevel, p.settings.logFormat)
	return nil
}

// environment is NAME=value strings, as os.Environ gives them.
type environment []string

// get returns the value of the first entry of that name, which is the one getenv finds, or "".
func (e environment) get(name string) string {
	for _, entry := range e {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// setting is get without the white space around it: a .env file or YAML may have left some.
func (e environment) setting(name string) string { return setting.Trim(e.get(name)) }

func clones(list []string) []string {
	copies := make([]string, len(list))
	for i, s := range list {
		copies[i] = strings.Clone(s)
	}
	return copies
}
