package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/flags"
	"github.com/Miosa-osa/miosa-env/internal/help"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Exit codes.
const (
	exitFailed = 1 // it was asked rightly and couldn't
	exitUsage  = 2
	exitOutput = 125 // standard output failed
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out := &flags.Output{To: stdout}
	app := &program{stdout: out, stderr: stderr, getenv: os.Getenv}
	root := app.root()
	flags.Prepare(root)
	root.SetArgs(args)
	root.SetOut(out.Quiet())
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.Err
	}
	if err == nil {
		return 0
	}
	// Errors may repeat what a person typed, keys included.
	line := func(s string) string { return api.RedactKeys(strings.ReplaceAll(s, "\n", "; ")) }
	fmt.Fprintln(stderr, "miosa-vault: error:", line(err.Error()))
	var h *hinted
	switch {
	case errors.As(err, &h):
		fmt.Fprintln(stderr, "miosa-vault: hint:", line(h.hint))
	case !app.begun && out.Err == nil:
		fmt.Fprintln(stderr, "miosa-vault: hint: see miosa-vault --help")
	}
	if out.Err != nil {
		return exitOutput
	}
	if !app.begun || errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

// program is what all commands share.
type program struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	begun          bool // the command line was understood, and its command runs
}

func (p *program) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "miosa-vault",
		Short: "Keep secrets, and serve them to the sandboxes they are bound to",
		Long: `miosa-vault keeps secrets, encrypted at rest, and serves them to the sandboxes and computers they
are bound to.

Exit codes: 0 it did what was asked (serve and dev: it was stopped), 1 it couldn't, 2 wrong usage,
125 standard output didn't take what was asked for.`,
		Example: `  miosa-vault dev --resource sandbox:sb_1          # try it: a vault on loopback that forgets everything
  miosa-vault keys root --out /etc/miosa/root.key  # set one up: a root key, a tenant key, the server
  miosa-vault keys create --tenant acme --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key
  miosa-vault serve --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              noCommand,
		RunE:              func(*cobra.Command, []string) error { return nil }, // Args lets nothing through
	}
	c.SetHelpFunc(help.Func(help.Shared{}))
	c.SetFlagErrorFunc(flagError)
	c.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(_ *cobra.Command, args []string) error {
		about, rest, _ := c.Find(args) // its error is that of rest
		if len(rest) > 0 {
			return noCommand(about, rest)
		}
		return about.Help()
	}})
	c.AddCommand(p.dev(), p.serve(), p.keys(), p.completion(c), p.version())
	cobra.EnableCommandSorting = false
	return c
}

// noCommand is the Args of a command that only has commands: it lets nothing through.
func noCommand(c *cobra.Command, args []string) error {
	see := "see " + c.CommandPath() + " --help"
	if len(args) == 0 {
		return usage("a command is missing", see)
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return usage(fmt.Sprintf("unknown command %q", args[0]), strings.TrimSpace(nearest.Hint(args[0], names)+" "+see))
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Sprintf("unexpected argument %q", args[0]), "see "+c.CommandPath()+" --help")
	}
	return nil
}

// flagError adds which flag was probably meant by an unknown one.
func flagError(c *cobra.Command, err error) error {
	hint := "see " + c.CommandPath() + " --help"
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		typed := strings.TrimLeft(cmp.Or(missing.GetSpecifiedShortnames(), missing.GetSpecifiedName()), "-")
		if word := nearest.Word(typed, names); word != "" {
			hint = "did you mean --" + word + "? " + hint
		}
	}
	return usage(flags.Error(err).Error(), hint)
}

// does makes a cobra RunE of a command's function: from here on an error isn't one of usage, unless
// it says so.
func (p *program) does(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		p.begun = true
		return do(c.Context(), args)
	}
}

// hinted is an error with one line on what to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }

var errUsage = errors.New("wrong usage")

// misuse is an error in how the program was called.
type misuse string

func (m misuse) Error() string { return string(m) }

// Is makes every misuse an errUsage.
func (misuse) Is(target error) bool { return target == errUsage }

func usage(message, hint string) error { return withHint(misuse(message), hint) }
