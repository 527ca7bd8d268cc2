package config

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of options in the documents")

// The tables of options in the documents are those that -update generates.
func TestDocuments(t *testing.T) {
	options := new(Config).Options()
	field := func(o Option) string { return row(code(o.Field), o.Default, o.Help) }
	for _, test := range []struct {
		name, file, head string
		options          []Option
		row              func(Option) string
	}{
		{"flags", "README.md", "| flag | variable | default | |\n|---|---|---|---|\n", options, func(o Option) string {
			if o.Variable == "" || o.Commands != nil && !slices.Contains(o.Commands, "run") {
				return ""
			}
			name := "none"
			if o.Flag != "" {
				name = code("--" + o.Flag)
			}
			return row(name, code(o.Variable), o.Default, o.Help)
		}},
		{"fields", "docs/operations.md", "| field | variable | default | |\n|---|---|---|---|\n", options, func(o Option) string {
			if o.Field == "" {
				return ""
			}
			return row(code(o.Field), code(o.Variable), o.Default, o.Help)
		}},
		{"outputs", "docs/operations.md", "Fields of each `[[output]]`:\n\n| field | default | |\n|---|---|---|\n", new(Output).options(), field},
		{"units", "docs/operations.md", "next to the socket:\n\n| field | default | |\n|---|---|---|\n", new(Unit).options(), field},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := "../../" + test.file
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			before, rest, found := strings.Cut(string(text), test.head)
			table, after, ends := strings.Cut(rest, "\n\n")
			if !found || !ends {
				t.Fatalf("%s has no table that begins\n%s", test.file, test.head)
			}
			var want strings.Builder
			for _, o := range test.options {
				if o.Required != "" {
					o.Default = "required"
				}
				want.WriteString(test.row(o))
			}
			if *update {
				if err := os.WriteFile(file, []byte(before+test.head+want.String()+"\n"+after), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(table+"\n", want.String()); diff != "" {
				t.Errorf("%s: go test ./agent/config -update (-document +options):\n%s", test.file, diff)
			}
		})
	}
}

func row(cells ...string) string {
	line := "|"
	for _, cell := range cells {
		if cell != "" {
			line += " " + cell
		}
		line += " |"
	}
	return line + "\n"
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
