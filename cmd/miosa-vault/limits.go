package main

import (
	"strings"

	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// limitsVariable has limits in the form of --limit, separated by white space. Flags override it.
const limitsVariable = "MIOSA_VAULT_LIMITS"

// limitsFlag is the flag --limit.
type limitsFlag struct{ *limit.Values }

// Set implements pflag.Value.
func (f limitsFlag) Set(text string) error { return f.Values.Set(text) }

func (limitsFlag) String() string { return "" }

// Type implements pflag.Value.
func (limitsFlag) Type() string { return "limit" }

// limitsOf returns the limits of the flags, or else of the variable.
func (s *server) limitsOf(variable string) (limit.Values, error) {
	var v limit.Values
	if err := v.Set(variable); err != nil {
		return v, usage(limitsVariable+": "+err.Error(), "see miosa-vault serve --help")
	}
	for id, value := range s.limits {
		if value != 0 {
			v[id] = value
		}
	}
	return v, nil
}

// limitsHelp lists the limits.
func limitsHelp() string {
	var b strings.Builder
	for _, row := range limit.Describe() {
		b.WriteString("  " + row.Name + "=" + row.Default + "\n      " + row.What + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
