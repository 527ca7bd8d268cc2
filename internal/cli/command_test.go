package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// call is a command that ran, with the flags and arguments it was given.
type call struct {
	Command string
	Flags   []string
	Args    []string
}

// example returns a program with commands that write to called and, when they print something, to out.
func example(called *call, out *strings.Builder) *App {
	run := func(_ context.Context, inv *Invocation) error {
		called.Command, called.Args = inv.path, inv.Args
		inv.Flags.Visit(func(f *pflag.Flag) { called.Flags = append(called.Flags, f.Name+"="+f.Value.String()) })
		return nil
	}
	anything := func([]string) error { return nil }
	return &App{
		Root: &Command{
			Use:     "program",
			Long:    "program does things.",
			Example: "  program start -- x",
			Flags: func(f *pflag.FlagSet) {
				f.String("url", "", "`URL` the server `url`")
				f.Bool("quiet", false, "say less")
				f.Var(setting.Choice(new(string), []string{"debug", "info"}), "level", "`LEVEL` what to log")
				f.Duration("wait", 0, "`DURATION` of requests")
			},
			Commands: []*Command{
				{
					Use: "start [FLAG...] COMMAND [ARG...]", Short: "Start a command", Group: "Main", Args: anything, Run: run,
					Flags: func(f *pflag.FlagSet) {
						f.SetInterspersed(false)
						f.StringArray("file", nil, "`FILE` read this")
						f.BoolP("now", "n", false, "don't wait")
						f.String("keep", "", "`NAMES` keep these")
						f.Lookup("keep").NoOptDefVal = "*"
					},
				},
				{
					Use: "list [NAME...]", Short: "List things", Group: "Main", Args: anything, Run: run,
					Flags: func(f *pflag.FlagSet) {
						f.Bool("json", false, "print JSON")
						f.Duration("wait", 0, "`DURATION` of its own")
						f.String("color", "", "`COLOR` of names")
					},
					Unused:   func(flag string) bool { return flag == "url" },
					Complete: First(func(_ context.Context, inv *Invocation, _ string) []string { return []string{"one\tfirst", "two="} }),
					CompleteFlag: func(f *pflag.Flag) Completer {
						if f.Name == "color" {
							return Words([]string{"red", "green"})
						}
						return nil
					},
				},
				{
					Use: "keys", Short: "Manage keys", Group: "More",
					Commands: []*Command{
						{Use: "add", Short: "Add a key", Run: run},
						{Use: "drop", Short: "Drop a key", Run: func(context.Context, *Invocation) error { return errors.New("no such key") }},
					},
				},
			},
		},
		Version: "v1", Out: out, Other: "More", SharedTitle: "Shared flags",
		Variable: func(f *pflag.Flag) string {
			if f.Name == "url" {
				return "URL"
			}
			return ""
		},
		FlagError: func(err error) error {
			if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedName() == "password" {
				return errors.New("no passwords here")
			}
			return nil
		},
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		line string
		want call
	}{
		{"list", call{"program list", nil, []string{}}},
		{"list a --json b", call{"program list", []string{"json=true"}, []string{"a", "b"}}},
		{"list -- a --json -- b", call{"program list", nil, []string{"a", "--json", "--", "b"}}},
		{"--quiet list a", call{"program list", []string{"quiet=true"}, []string{"a"}}},
		{"--quiet=no list a", call{"program list", []string{"quiet=false"}, []string{"a"}}},
		{"--url list list a", call{"program list", []string{"url=list"}, []string{"a"}}},
		{"list --url=x --quiet --level DEBUG", call{"program list", []string{"url=x", "quiet=true", "level=debug"}, []string{}}},
		{"list --wait 2s", call{"program list", []string{"wait=2s"}, []string{}}},
		{"list keys", call{"program list", nil, []string{"keys"}}},
		{"keys add", call{"program keys add", nil, []string{}}},
		{"keys --url x add --quiet", call{"program keys add", []string{"url=x", "quiet=true"}, []string{}}},
		{"start x -n --help", call{"program start", nil, []string{"x", "-n", "--help"}}},
		{"start -n --file a --file b x --file c", call{"program start", []string{"now=true", "file=[a,b]"}, []string{"x", "--file", "c"}}},
		{"start --keep x", call{"program start", []string{"keep=*"}, []string{"x"}}},
		{"start --keep=x y", call{"program start", []string{"keep=x"}, []string{"y"}}},
		{"start -- --file", call{"program start", nil, []string{"--file"}}},
		{"start - -n", call{"program start", nil, []string{"-", "-n"}}},
		{"start keys add", call{"program start", nil, []string{"keys", "add"}}},
	} {
		var got call
		var out strings.Builder
		if err := example(&got, &out).Execute(t.Context(), strings.Fields(tt.line)); err != nil || out.Len() > 0 {
			t.Errorf("%s: error %v, output %q", tt.line, err, &out)
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.line, diff)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct{ line, want, hint string }{
		{"", "a command is missing", "see program --help"},
		{"--quiet", "a command is missing", "see program --help"},
		{"keys", "a command is missing", "see program keys --help"},
		{"lst", `unknown command "lst"`, "did you mean list? see program --help"},
		{"hlp", `unknown command "hlp"`, "see program --help"},
		{"drop", `unknown command "drop"`, "did you mean keys drop? see program --help"},
		{"-- list", `unknown command "list"`, "did you mean list? see program --help"},
		{"keys ad", `unknown command "ad"`, "did you mean add? see program keys --help"},
		{"help keys ad", `unknown command "ad"`, "did you mean add? see program keys --help"},
		{"help list x", `unknown command "x"`, "see program list --help"},
		{"keys add x", `unexpected argument "x"`, "see program keys add --help"},
		{"version x", `unexpected argument "x"`, "see program version --help"},
		{"list --jsn", "unknown flag: --jsn", "did you mean --json? see program list --help"},
		{"list -quiet", "unknown flag: -quiet", "did you mean --quiet? see program list --help"},
		{"list -n", "unknown flag: -n", "see program list --help"},
		{"list --version", "unknown flag: --version", "see program list --help"},
		{"list --help --nope", "unknown flag: --nope", "see program list --help"},
		{"keys --json add", "unknown flag: --json", "see program keys --help"},
		{"list --url", "--url needs a value: --url URL", "see program list --help"},
		{"list --password x", "no passwords here", "see program list --help"},
		{"completion", "want the name of one shell", "name bash, zsh or fish"},
		{"completion bsh", `no completion for "bsh"`, "did you mean bash? name bash, zsh or fish"},
		{"__complete", `unknown command "__complete"`, "see program --help"},
	} {
		var called call
		err := example(&called, new(strings.Builder)).Execute(t.Context(), strings.Fields(tt.line))
		if err == nil || err.Error() != tt.want || Hint(err) != tt.hint || ExitCode(err, 1) != 2 || called.Command != "" {
			t.Errorf("%s: error %v, hint %q, exit code %d; want %s, %q, 2", tt.line, err, Hint(err), ExitCode(err, 1), tt.want, tt.hint)
		}
	}
}

func TestErrorOfCommand(t *testing.T) {
	err := example(nil, nil).Execute(t.Context(), []string{"keys", "drop"})
	if err == nil || err.Error() != "no such key" || Hint(err) != "" || ExitCode(err, 1) != 1 {
		t.Errorf("error %v, hint %q, exit code %d", err, Hint(err), ExitCode(err, 1))
	}
}

func TestHelp(t *testing.T) {
	const root = `program does things.

Usage:
  program COMMAND [FLAG...]

Main:
  start       Start a command
  list        List things

More:
  keys        Manage keys
  completion  Print a shell's completion script
  version     Print the version

Examples:
  program start -- x

Shared flags:
      --url URL               the server url [URL]
      --quiet                 say less
      --level LEVEL           what to log
      --wait DURATION         of requests

program COMMAND --help says more about a command.
`
	const start = `Usage:
  program start [FLAG...] COMMAND [ARG...]

Flags:
      --file FILE             read this
  -n, --now                   don't wait
      --keep[=NAMES]          keep these

Shared flags:
      --url URL               the server url [URL]
      --quiet                 say less
      --level LEVEL           what to log
      --wait DURATION         of requests
`
	const list = `Usage:
  program list [NAME...]

Flags:
      --json                  print JSON
      --wait DURATION         of its own
      --color COLOR           of names

Shared flags:
      --quiet                 say less
      --level LEVEL           what to log
`
	const keys = `Usage:
  program keys COMMAND [FLAG...]

Commands:
  add         Add a key
  drop        Drop a key

Shared flags:
      --url URL               the server url [URL]
      --quiet                 say less
      --level LEVEL           what to log
      --wait DURATION         of requests

program keys COMMAND --help says more about a command.
`
	for _, tt := range []struct{ line, want string }{
		{"--help", root}, {"-h", root}, {"help", root}, {"--quiet -h", root}, {"--version --help", root},
		{"start --help", start}, {"help start", start}, {"start --now -h x", start},
		{"list x --help", list}, {"help list", list},
		{"keys -h", keys}, {"help keys", keys}, {"keys nonsense --help", keys},
		{"version --help", "Usage:\n  program version [FLAG...]\n\nFlags:\n      --json                  print a JSON object\n"},
		{"--version", "program version v1\n"}, {"-v", "program version v1\n"},
	} {
		var out strings.Builder
		if err := example(nil, &out).Execute(t.Context(), strings.Fields(tt.line)); err != nil {
			t.Errorf("%s: %v", tt.line, err)
		}
		if diff := cmp.Diff(out.String(), tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.line, diff)
		}
	}
}

// The output of help, version and completion may fail.
func TestOutputFails(t *testing.T) {
	full := errors.New("no space left on device")
	for _, line := range []string{"--help", "help list", "list -h", "--version", "version", "version --json", "completion zsh", "__complete x"} {
		app := example(nil, nil)
		app.Out = failing{full}
		if err := app.Execute(t.Context(), strings.Fields(line)); !errors.Is(err, full) || ExitCode(err, 1) != 1 {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, line := range []string{"", "--help", "keys add", "start --file", "list --url x --", "__complete list --level=", "__complete start -n", "-é", "help -"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		var out strings.Builder
		err := example(new(call), &out).Execute(t.Context(), args)
		if err != nil && out.Len() > 0 {
			t.Errorf("error %v after output", err)
		}
		out.Reset()
		if err := example(new(call), &out).Execute(t.Context(), append([]string{"__complete"}, args...)); err != nil || !strings.HasSuffix(out.String(), "\n") {
			t.Errorf("completion: error %v, output %q", err, &out)
		}
	})
}
