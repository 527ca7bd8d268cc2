// Package option describes the options of a program: for each its flag, its environment variable and its field of a
// configuration in TOML. It reads such a configuration, and reports all of its problems at once with their lines.
package option

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/spf13/pflag"
)

// Option is one setting, with all its sources.
type Option struct {
	Flag     string // without --; empty: none
	Variable string // environment variable; empty: none
	Field    string // of the configuration; empty: none
	Value    *setting.Value
	Default  string   // as help and documents show it
	Argument string   // of the flag, as help shows it
	Help     string   // what it is, in Markdown
	Commands []string // that have the flag; empty: all

	Check    func(string) error // of a text in the configuration, or of each text of a list
	Required string             // what the error says that a table without the field needs
	Unique   bool               // no two tables may have the same text
}

// AddFlags adds the flags that only the command of this name has, or with an empty name those that all commands have.
func AddFlags(f *pflag.FlagSet, options []Option, command string) {
	for _, o := range options {
		if o.Flag == "" || len(o.Commands) == 0 != (command == "") || command != "" && !slices.Contains(o.Commands, command) {
			continue
		}
		usage := o.Help
		if o.Argument != "" {
			usage = "`" + o.Argument + "` " + usage
		}
		flag := f.VarPF(o.Value, o.Flag, "", usage)
		flag.DefValue = o.Default
		if o.Value.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// VariableOf returns the environment variable that sets the same option as a flag, or "".
func VariableOf(options []Option, flag *pflag.Flag) string {
	for _, o := range options {
		if o.Flag == flag.Name && o.Value == flag.Value { // another command may have another flag of that name
			return o.Variable
		}
	}
	return ""
}

// Variables sets those options that want selects from environment variables, which get returns without white space around
// them. It returns all problems.
func Variables(options []Option, get func(name string) string, want func(Option) bool) (problems []error) {
	for _, o := range options {
		if o.Variable == "" || !want(o) {
			continue
		}
		if text := get(o.Variable); text != "" {
			if err := o.Value.Set(text); err != nil {
				problems = append(problems, fmt.Errorf("%s %s: %w", o.Variable, quoted(text), err))
			}
		}
	}
	return problems
}

// ResourceID accepts the id of a sandbox or computer. One with a type before it, as --bind takes it, would be another resource's.
func ResourceID(id string) error {
	for _, kind := range []string{api.Sandbox, api.Computer} {
		if strings.HasPrefix(id, kind+":") {
			return fmt.Errorf("want the id without %q", kind+":")
		}
	}
	if err := (api.Resource{Type: api.Sandbox, ID: id}).Validate(); err != nil { // it names the field of the API
		return errors.New("want 1 to 128 letters, digits or any of . _ : @ -, the first a letter or digit")
	}
	return nil
}

// Loopback accepts HOST:PORT if only this machine can reach it.
func Loopback(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("want HOST:PORT, such as 127.0.0.1:9464")
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return errors.New("want an address that only this machine can reach, such as 127.0.0.1:9464")
	}
	return nil
}
