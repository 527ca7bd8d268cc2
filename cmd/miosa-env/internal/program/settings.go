package program

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

// Settings are the options of a program, from its flags and environment. The agent adds those of its configuration.
type Settings struct {
	config.Config

	credentials string // the directory of systemd credentials, if there is neither a key nor a key file
	Rereads     bool   // files are read again when they change, so they must be regular ones
}

// AddFlags adds the flags that only the command of this name has, or with an empty name those that all commands have.
func (p *Program) AddFlags(f *pflag.FlagSet, command string) {
	option.AddFlags(f, p.options, command)
}

// VariableOf returns the environment variable that sets the same option as a flag, or "".
func (p *Program) VariableOf(flag *pflag.Flag) string {
	return option.VariableOf(p.options, flag)
}

// complete sets the options that no flag of f has set from the environment.
func (p *Program) complete(f *pflag.FlagSet) error {
	named := f.Changed("sandbox") || f.Changed("computer")
	if f.Changed("sandbox") && f.Changed("computer") {
		return cli.Usage(errors.New("--sandbox and --computer are both given"), "leave one out")
	}
	err := setFrom(p.Environ, p.options, func(o option.Option) bool {
		flag := f.Lookup(o.Flag)
		switch {
		case flag == nil:
			return o.Flag == ""
		case o.Flag == "sandbox", o.Flag == "computer":
			return !named
		}
		return !flag.Changed || flag.Value != o.Value
	})
	s := &p.Settings
	switch {
	case f.Changed("key-file"):
		s.APIKey = ""
	case s.APIKey != "":
		s.KeyFile = ""
	case s.KeyFile == "":
		s.credentials = p.Environ.Get("CREDENTIALS_DIRECTORY")
	}
	return err
}

// checkFlags returns an error of the command line for the first flag whose value is malformed, although it is text as any other. A
// variable with such a value is an error when it is used.
func (p *Program) checkFlags(f *pflag.FlagSet) error {
	s := &p.Settings
	resource := func() error { _, err := s.Resource(); return err }
	for _, check := range []struct {
		flag string
		err  func() error
	}{
		{"base-url", func() error { _, err := s.NamedVault(); return err }},
		{"proxy", func() error { return fetch.Config{Key: api.NewKey(api.ResourceKeyPrefix), Proxy: s.Proxy}.Validate() }}, // any key will do
		{"sandbox", resource},
		{"computer", resource},
	} {
		if flag := f.Lookup(check.flag); flag != nil && flag.Changed && flag.Value.String() != "" {
			if err := check.err(); err != nil {
				err = cli.Problems(err)[0]
				return cli.Usage(err, cli.Hint(err))
			}
		}
	}
	return nil
}

// CompleteFor sets from the environment the options that another command has a flag for, and this one does not.
func (p *Program) CompleteFor(f *pflag.FlagSet, command string) error {
	return setFrom(p.Environ, p.options, func(o option.Option) bool {
		return f.Lookup(o.Flag) == nil && slices.Contains(o.Commands, command)
	})
}

// Override completes settings that a configuration was read into: flags override the file, and the file overrides variables.
func (s *Settings) Override(f *pflag.FlagSet, e Environment) error {
	f.Visit(func(flag *pflag.Flag) { s.Config.Override(flag.Name, flag.Value.String()) })
	return setFrom(e, s.Options(), func(o option.Option) bool {
		return o.Field != "" && f.Lookup(o.Flag) == nil && !s.Sets(o.Field)
	})
}

// setFrom sets some options from the Environment. Its error joins the problems of all.
func setFrom(e Environment, options []option.Option, want func(option.Option) bool) error {
	return errors.Join(option.Variables(options, e.Setting, want)...)
}

// NamedVault returns the vault that --base-url or MIOSA_BASE_URL names, in its normal form, or "".
func (s *Settings) NamedVault() (string, error) {
	if s.BaseURL == "" {
		return "", nil
	}
	return fetch.Config{BaseURL: s.BaseURL}.Vault()
}

// Resource returns the sandbox or computer whose values are wanted.
func (s *Settings) Resource() (api.Resource, error) {
	r := api.Resource{Type: api.Sandbox, ID: s.Sandbox}
	switch {
	case s.Sandbox != "" && s.Computer != "":
		return api.Resource{}, cli.WithHint(
			errors.New("MIOSA_SANDBOX_ID and MIOSA_COMPUTER_ID are both set"),
			"unset one, or give --sandbox ID or --computer ID, which comes before both")
	case s.Computer != "":
		r = api.Resource{Type: api.Computer, ID: s.Computer}
	case s.Sandbox == "":
		return api.Resource{}, cli.WithHint(
			errors.New("no sandbox or computer is named: neither MIOSA_SANDBOX_ID nor MIOSA_COMPUTER_ID is set"),
			"set one, or give --sandbox ID or --computer ID")
	}
	if err := option.ResourceID(r.ID); err != nil {
		return r, cli.WithHint(fmt.Errorf("%s id: %w", r.Type, err), "correct MIOSA_"+strings.ToUpper(r.Type)+"_ID or --"+r.Type)
	}
	return r, nil
}
