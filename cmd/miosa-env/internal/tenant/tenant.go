// Package tenant has the commands that manage a tenant: secrets, bindings, import, oauth, keys, network and audit.
package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// Commands returns the commands, in the order of --help.
func Commands(p *program.Program) []*cli.Command {
	return []*cli.Command{secretsCommand(p), bindingsCommand(p), importCommand(p), oauthCommand(p), keysCommand(p), networkCommand(p), auditCommand(p)}
}

// group returns a command that only has commands.
func group(use, short, long string, commands ...*cli.Command) *cli.Command {
	return &cli.Command{Use: use, Short: short, Long: long, Unused: noResource, Commands: commands}
}

// noResource reports whether a flag is about a sandbox, a computer or the agent, none of which a tenant's commands need.
func noResource(flag string) bool { return flag == "sandbox" || flag == "computer" || flag == "socket" }

// vaultCommand completes a command that runs with a client of the vault, and returns it.
func vaultCommand(p *program.Program, c *cli.Command, run func(context.Context, *secrets.Client, *cli.Invocation) error) *cli.Command {
	c.Unused = noResource
	c.CompleteFlag = completeFlag(p)
	c.Run = func(ctx context.Context, inv *cli.Invocation) error {
		vault, err := connect(p, inv.Flags)
		if err != nil {
			return err
		}
		defer vault.Close()
		return run(ctx, vault, inv)
	}
	return c
}

// connect begins a command and returns a client of the vault. It removes the key from the arguments and environment of this
// process. A resource key is refused before it is sent.
func connect(p *program.Program, flags *pflag.FlagSet) (*secrets.Client, error) {
	if err := p.Begin(flags); err != nil {
		return nil, err
	}
	inherited.EndByFaults()
	found, err := findKey(p, flags.Changed("key-file"))
	p.WarnExposed(found)
	p.Scrub(found.Key)
	if err != nil {
		return nil, err
	}
	return secrets.New(p.Settings.ClientConfig(p, found))
}

// findKey returns the tenant key, from --key-file, MIOSA_TENANT_KEY, or where the other commands find their key.
func findKey(p *program.Program, fileGiven bool) (program.FoundKey, error) {
	switch {
	case fileGiven:
		return p.Settings.ReadKey(p.Settings.KeyFile, tenantKey)
	case p.Settings.TenantKey != "":
		return keyfile.Parse("MIOSA_TENANT_KEY", p.Settings.TenantKey, tenantKey)
	case p.Settings.HasKey():
		return p.Settings.KeyOf(tenantKey)
	}
	return program.FoundKey{}, cli.WithHint(errors.New("there is no tenant key: MIOSA_TENANT_KEY isn't set"), "set it, or give --key-file FILE")
}

// tenantKey accepts tenant keys only.
func tenantKey(where string, key api.Key) error {
	kind := "a key of another kind"
	switch {
	case key.ForTenant():
		return nil
	case key.ForBroker():
		kind = "a broker key (" + api.BrokerKeyPrefix + "...)"
	case strings.HasPrefix(key.Reveal(), api.ResourceKeyPrefix):
		kind = "the key of one sandbox or computer (" + api.ResourceKeyPrefix + "...)"
	}
	return cli.WithHint(errors.New(where+" holds "+kind+"; managing secrets takes a tenant key ("+api.TenantKeyPrefix+"...)"),
		"set MIOSA_TENANT_KEY, or give a file that holds one with --key-file FILE")
}

// oneArgument accepts exactly one argument.
func oneArgument(what string) func([]string) error {
	return func(args []string) error {
		switch len(args) {
		case 0:
			return errors.New(what + " is missing")
		case 1:
			return nil
		}
		return errors.New("unexpected argument " + cli.Quote(args[1]))
	}
}

// printDone reports what a command has done.
func printDone(p *program.Program, line string) error {
	if _, err := io.WriteString(cli.Redacted{To: p.Stdout}, cli.OneLine(line)+"\n"); err != nil {
		return fmt.Errorf("%s, but reporting it failed: %w", line, err)
	}
	return nil
}

// printJSON prints a response of the vault, without keys.
func printJSON(p *program.Program, response any) error {
	return cli.PrintJSON(cli.Redacted{To: p.Stdout}, response)
}

// printJSONList prints a list, [] if it is nil.
func printJSONList[T any](p *program.Program, list []T) error {
	if list == nil {
		list = []T{}
	}
	return printJSON(p, list)
}

// printList prints a list as JSON or as a table. If the list is empty, it prints none to standard error instead of a table.
func printList[T any](p *program.Program, asJSON bool, list []T, none func() string, head []string, row func(*T) []string) error {
	switch {
	case asJSON:
		return printJSONList(p, list)
	case len(list) == 0:
		fmt.Fprintln(p.Stderr, "miosa-env: "+none())
		return nil
	}
	t := program.Table{Head: head}
	for i := range list {
		t.Add(row(&list[i])...)
	}
	return t.Write(p.Stdout)
}

func addYesFlag(f *pflag.FlagSet, yes *bool) { f.BoolVar(yes, "yes", false, "don't ask") }

func addJSONFlag(f *pflag.FlagSet, asJSON *bool, what string) {
	f.BoolVar(asJSON, "json", false, "print "+what)
}
