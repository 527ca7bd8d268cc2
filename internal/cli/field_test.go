package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestNameFields(t *testing.T) {
	for _, tt := range []struct {
		name    string
		use     string // of the command, which has the flags --bind, --resource, --scope and --only-resources
		args    []string
		message string
		want    string
	}{
		{"a flag", "set NAME", nil, "scope must be user", "--scope must be user"},
		{"a colon after it", "set NAME", nil, "scope: this key is restricted", "--scope: this key is restricted"},
		{"the flag that was given", "set NAME", []string{"--bind=x"}, "resource_id is required", "--bind is required"},
		{"the first of two that were given", "set NAME", []string{"--bind=x", "--resource=y"}, "resource_id is required", "--resource is required"},
		{"an argument", "create SECRET RESOURCE=NAME", nil, "secret_id is required", "SECRET is required"},
		{"an argument before a flag that was not given", "create RESOURCE|tenant", nil, "resource_id is required", "RESOURCE is required"},
		{"what it is of", "create SECRET RESOURCE=NAME", nil, "expose_as_env is required", "the variable of RESOURCE=NAME is required"},
		{"in the middle", "set NAME", nil, "leave out resource_id, resource_type.", "leave out --resource, resource_type."},
		{"a word in the middle", "set NAME", nil, "the scope must be user", "the scope must be user"},
		{"no flag", "set NAME", nil, "grace_seconds must be 0", "grace_seconds must be 0"},
		{"no field", "set NAME", nil, "this key is restricted", "this key is restricted"},
		{"nothing", "set NAME", nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := pflag.NewFlagSet("", pflag.ContinueOnError)
			for _, name := range []string{"bind", "resource", "scope", "only-resources"} {
				f.String(name, "", "")
			}
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			inv := &Invocation{Flags: f, command: &Command{Use: tt.use}}
			refused := api.NewError(api.ErrInvalid, tt.message)
			for before, err := range map[string]error{
				"":        refused,
				"scope: ": fmt.Errorf("scope: %w", refused), // of the command, not of the vault
			} {
				err = inv.NameFields(Usage(err, "a hint"))
				if err.Error() != before+tt.want || Hint(err) != "a hint" || ExitCode(err, 1) != exitUsage || !errors.Is(err, api.ErrInvalid) {
					t.Errorf("error %q, hint %q, exit code %d", err, Hint(err), ExitCode(err, 1))
				}
			}
			joined := inv.NameFields(errors.Join(refused, errors.New("scope is another's")))
			if want := tt.want + "\nscope is another's"; joined.Error() != want {
				t.Errorf("joined: %q, want %q", joined, want)
			}
		})
	}
	if err := (&Invocation{}).NameFields(nil); err != nil {
		t.Error(err)
	}
}
