// Package tenant has the commands that manage a tenant: secrets, bindings, import, oauth, keys and audit.
package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// Commands returns them in the order of --help.
func Commands(p *program.Program) []*cobra.Command {
	return []*cobra.Command{secretsCommand(p), bindingsCommand(p), importCommand(p), oauthCommand(p), keysCommand(p), auditCommand(p)}
}

// manages is the annotation of a command that manages a tenant.
func manages() map[string]string { return map[string]string{program.NoResource: "true"} }

// groupCommand is a command that only has commands.
func groupCommand(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Annotations: manages(),
		Args: cli.NoCommand,
		RunE: func(*cobra.Command, []string) error { return nil }, // Args lets nothing through
	}
	c.AddCommand(commands...)
	return c
}

// manager makes a command of one that has all but what it does, which is done with a client of the vault.
func manager(p *program.Program, c *cobra.Command, run func(context.Context, *secrets.Client, []string) error) *cobra.Command {
	c.Annotations = manages()
	c.Flags().SortFlags = false
	c.RunE = func(c *cobra.Command, args []string) error {
		vault, err := manage(p, c)
		if err != nil {
			return err
		}
		defer vault.Close()
		return run(c.Context(), vault, args)
	}
	return c
}

// manage begins a command that manages a tenant's secrets: it makes a client of the vault, and takes its key
// out of this process's own arguments and environment. A resource key is refused before anybody sees it.
func manage(p *program.Program, c *cobra.Command) (*secrets.Client, error) {
	if err := p.Begin(c); err != nil {
		return nil, err
	}
	inherited.EndByFaults()
	found, err := tenantKey(p, c.Flags().Changed("key-file"))
	if found.Exposed {
		p.Log.Warn().Str("file", found.Where).Msg("key file may be read or changed by everybody: chmod 600 it")
	}
	if err := inject.Scrub(found.Key); err != nil {
		p.Log.Warn().Err(err).Msg("the key stays visible in this process's environment or arguments")
	}
	if err != nil {
		return nil, err
	}
	return secrets.New(secrets.Config{
		BaseURL: p.Settings.BaseURL, Key: found.Key, Reread: p.Settings.Reread(found), CAFile: p.Settings.CAFile, Proxy: p.Settings.Proxy,
		Timeout: time.Duration(p.Settings.Timeout), Log: p.Log, UserAgent: "miosa-env/" + p.Version,
	})
}

// tenantKey finds the key: --key-file, MIOSA_TENANT_KEY, then where every other command looks.
func tenantKey(p *program.Program, fileGiven bool) (found program.FoundKey, err error) {
	text := p.Environ.Setting("MIOSA_TENANT_KEY")
	switch {
	case fileGiven:
		found, err = p.Settings.ReadKey(p.Settings.KeyFile)
	case text != "":
		found, err = program.ParseKey(program.FoundKey{Where: "MIOSA_TENANT_KEY"}, text)
	case p.Settings.HasKey():
		found, err = p.Settings.Key()
	default:
		err = cli.WithHint(errors.New("there is no tenant key: MIOSA_TENANT_KEY isn't set"), "set it, or give --key-file FILE")
	}
	if err == nil && !found.ForTenant() {
		err = cli.WithHint(
			errors.New(found.Where+" holds the key of one sandbox or computer (msk_r_...); managing secrets takes a tenant key (msk_u_...)"),
			"set MIOSA_TENANT_KEY, or give a file that holds one with --key-file FILE")
	}
	return found, err
}

// oneArgument lets exactly one word through.
func oneArgument(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return errors.New(what + " is missing")
		case 1:
			return nil
		}
		return errors.New("unexpected argument " + cli.Quote(args[1]))
	}
}

// say prints a line of what was done.
func say(p *program.Program, line string) error {
	if _, err := io.WriteString(cli.Redacted{To: p.Stdout}, cli.OneLine(line)+"\n"); err != nil {
		return fmt.Errorf("%s, but reporting it failed: %w", line, err)
	}
	return nil
}

// printJSON prints what the vault has answered. What looks like a key is none of ours, and isn't repeated.
func printJSON(p *program.Program, what any) error {
	return program.PrintJSON(cli.Redacted{To: p.Stdout}, what)
}

// noTable prints a list as JSON, or says that it is empty.
func noTable(p *program.Program, asJSON bool, list any, empty string) error {
	if asJSON {
		return printJSON(p, list)
	}
	fmt.Fprintln(p.Stderr, "miosa-env: "+empty)
	return nil
}

// orEmpty makes a list that is printed as [] and never as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func addYesFlag(f *pflag.FlagSet, yes *bool) {
	f.BoolVar(yes, "yes", false, "don't ask")
}

// addJSONFlag adds --json.
func addJSONFlag(f *pflag.FlagSet, asJSON *bool, what string) {
	f.BoolVar(asJSON, "json", false, "print "+what)
}
