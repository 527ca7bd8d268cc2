package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComplete(t *testing.T) {
	const files, words, open = ":0", ":4", ":6"
	all := func(lines ...string) string { return strings.Join(lines, "\n") }
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"commands", []string{""}, all("start\tStart a command", "list\tList things", "keys\tManage keys", "completion\tPrint a shell's completion script", "version\tPrint the version", "help", words)},
		{"the beginning of a command", []string{"li"}, all("list\tList things", words)},
		{"commands of a command", []string{"--url", "x", "keys", ""}, all("add\tAdd a key", "drop\tDrop a key", words)},
		{"no command begins so", []string{"x"}, words},
		{"an unknown command", []string{"nonsense", ""}, files},
		{"after --", []string{"--", ""}, all("start\tStart a command", "list\tList things", "keys\tManage keys", "completion\tPrint a shell's completion script", "version\tPrint the version", "help", words)},

		{"flags", []string{"list", "--"}, all("--json\tprint JSON", "--wait\tof its own", "--color\tof names", "--url\tthe server url", "--quiet\tsay less", "--level\twhat to log", "--help\thelp for list", words)},
		{"flags and letters", []string{"start", "-"}, all("--file\tread this", "--now\tdon't wait", "-n\tdon't wait", "--keep\tkeep these",
			"--url\tthe server url", "--quiet\tsay less", "--level\twhat to log", "--wait\tof requests", "--help\thelp for start", "-h\thelp for start", words)},
		{"flags of the root", []string{"--v"}, all("--version\tversion for program", words)},
		{"a flag that is given", []string{"list", "--json", "--js"}, words},
		{"a list that is given", []string{"start", "--file", "x", "--fi"}, all("--file\tread this", words)},
		{"flags after an argument", []string{"list", "x", "--j"}, all("--json\tprint JSON", words)},
		{"no flags after the command to start", []string{"start", "x", "--f"}, files},
		{"no flags after --", []string{"list", "--", "--j"}, all("one\tfirst", "two=", words)},
		{"nothing after help", []string{"list", "--help", ""}, words},

		{"a flag's words", []string{"list", "--level", ""}, all("debug", "info", words)},
		{"a flag's words after =", []string{"list", "--level=d"}, all("debug", "info", words)},
		{"a flag's words before a command", []string{"--level", ""}, all("debug", "info", words)},
		{"a flag's function", []string{"list", "x", "--color", "g"}, all("red", "green", words)},
		{"a flag without words", []string{"list", "--url", ""}, files},
		{"a flag without words after =", []string{"list", "--url="}, files},
		{"a value that begins like a flag", []string{"list", "--level", "-"}, all("debug", "info", words)},
		{"no value after a boolean flag", []string{"list", "--json", ""}, all("one\tfirst", "two=", open)},
		{"no value after an optional one", []string{"start", "--keep", ""}, files},
		{"an unknown flag", []string{"list", "--nope", ""}, files},
		{"an unknown flag with =", []string{"list", "--nope="}, files},
		{"a wrong value before", []string{"list", "--wait", "x", ""}, files},
		{"a flag of the command to start", []string{"start", "x", "--level", ""}, files},

		{"arguments", []string{"list", "o"}, all("one\tfirst", "two=", words)},
		{"an argument to go on with", []string{"list", "t"}, all("one\tfirst", "two=", open)},
		{"a second argument", []string{"list", "one", ""}, words},
		{"arguments without words", []string{"start", "x", ""}, files},
		{"shells", []string{"completion", ""}, all("bash", "zsh", "fish", words)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var called call
			var out strings.Builder
			if err := example(&called, &out).Execute(t.Context(), append([]string{"__complete"}, tt.args...)); err != nil || called.Command != "" {
				t.Errorf("error %v, ran %q", err, called.Command)
			}
			if diff := cmp.Diff(out.String(), tt.want+"\n"); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}
