package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Miosa-osa/miosa-env/api"
)

// Exit codes.
const (
	exitFailed = 1 // it was asked rightly and couldn't
	exitUsage  = 2
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &program{stdout: stdout, stderr: stderr, getenv: os.Getenv}
	root := app.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
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
	case !app.begun:
		fmt.Fprintln(stderr, "miosa-vault: hint: see miosa-vault --help")
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
		Short: "keep secrets, and serve them to the sandboxes they are bound to",
		Long: `miosa-vault keeps secrets, encrypted at rest, and serves them to the sandboxes and computers they
are bound to.

Exit codes: 0 it did what was asked (serve and dev: it was stopped), 1 it couldn't, 2 wrong usage.`,
		Example: `  miosa-vault dev --resource sandbox:sb_1          # try it: a vault on loopback that forgets everything
  miosa-vault keys root --out /etc/miosa/root.key  # set one up: a root key, a tenant key, the server
  miosa-vault keys create --tenant acme --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key
  miosa-vault serve --data-dir /var/lib/miosa-vault --root-key-file /etc/miosa/root.key`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          missingCommand,
	}
	c.AddCommand(p.serve(), p.dev(), p.keys())
	return c
}

func missingCommand(c *cobra.Command, _ []string) error {
	return usage("a command is missing", "see "+c.CommandPath()+" --help")
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
