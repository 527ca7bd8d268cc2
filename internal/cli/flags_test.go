package cli

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// subFlags returns an app with the command sub, which has a flag of each kind and keeps them in parsed.
func subFlags(parsed **pflag.FlagSet) *App {
	return &App{
		Root: &Command{
			Use:   "program",
			Flags: func(f *pflag.FlagSet) { f.Bool("all", false, "") },
			Commands: []*Command{{
				Use: "sub",
				Flags: func(f *pflag.FlagSet) {
					f.BoolP("quiet", "q", false, "")
					f.Int("limit", 0, "`NUMBER` at most")
					f.Float64("rate", 0, "")
					f.Duration("wait", time.Second, "")
					f.String("name", "", "`NAME` called so")
					f.Var(setting.Text(new(string)), "url", "")
					f.Var(setting.Word(new(string)), "scope", "")
				},
				Run: func(_ context.Context, inv *Invocation) error {
					*parsed = inv.Flags
					return nil
				},
			}},
		},
		Out: io.Discard,
	}
}

// TestErrors: errors do not contain the wording of Go's packages.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--quiet=maybe"}, `--quiet "maybe": want true or false (or yes or no, on or off, 1 or 0)`},
		{[]string{"-q=maybe"}, `--quiet "maybe": want true or false (or yes or no, on or off, 1 or 0)`},
		{[]string{"--all="}, `--all "": want true or false (or yes or no, on or off, 1 or 0)`},
		{[]string{"--help=maybe"}, `--help "maybe": want true or false (or yes or no, on or off, 1 or 0)`},
		{[]string{"--limit", "many"}, `--limit "many": want a whole number`},
		{[]string{"--limit", "99999999999999999999"}, `--limit "99999999999999999999": want a whole number`},
		{[]string{"--rate=fast"}, `--rate "fast": want a number`},
		{[]string{"--wait", "10"}, `--wait "10": want a length of time such as 500ms, 10s or 2m`},
		{[]string{"--limit"}, "--limit needs a value: --limit NUMBER"},
		{[]string{"--name"}, "--name needs a value: --name NAME"},
		{[]string{"--=x"}, `"--=x" isn't a flag: want --NAME or --NAME=VALUE`},
		{[]string{"--unknown"}, "unknown flag: --unknown"},
		{[]string{"-xq"}, "unknown flag: -xq"},
		{[]string{"-é"}, "unknown flag: -é"},
		{[]string{"--limit", strings.Repeat("x", 100)}, `--limit "` + strings.Repeat("x", 80) + `...": want a whole number`},
	} {
		err := subFlags(nil).Execute(t.Context(), append([]string{"sub"}, tt.args...))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestTaken(t *testing.T) {
	var parsed *pflag.FlagSet
	args := []string{"sub", "--quiet=Yes", "--all=off", "--url", " https://x\n", "--scope", " Tenant "}
	if err := subFlags(&parsed).Execute(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"quiet": "true", "all": "false", "url": "https://x", "scope": "tenant"} {
		if got := parsed.Lookup(name).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
}
