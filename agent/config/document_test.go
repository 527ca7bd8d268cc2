package config

import (
	"flag"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/optiontable"
)

var update = flag.Bool("update", false, "write the tables of options in the documents")

// The tables of options in the documents are those that -update generates.
func TestDocuments(t *testing.T) {
	const operations = "../../docs/operations.md"
	row, code := optiontable.Row, optiontable.Code
	options := new(Config).Options()
	field := func(o Option) string { return row(code(o.Field), o.Default, o.Help) }
	optiontable.Test(t, []optiontable.Table{
		{Name: "flags", File: "../../README.md", Head: "| flag | variable | default | |\n|---|---|---|---|\n", Options: options, Row: func(o Option) string {
			if o.Variable == "" || o.Commands != nil && !slices.Contains(o.Commands, "run") {
				return ""
			}
			name := "none"
			if o.Flag != "" {
				name = code("--" + o.Flag)
			}
			return row(name, code(o.Variable), o.Default, o.Help)
		}},
		{Name: "fields", File: operations, Head: "| field | variable | default | |\n|---|---|---|---|\n", Options: options, Row: func(o Option) string {
			if o.Field == "" {
				return ""
			}
			return row(code(o.Field), code(o.Variable), o.Default, o.Help)
		}},
		{Name: "outputs", File: operations, Head: "Fields of each `[[output]]`:\n\n| field | default | |\n|---|---|---|\n", Options: new(Output).options(), Row: field},
		{Name: "units", File: operations, Head: "next to the socket:\n\n| field | default | |\n|---|---|---|\n", Options: new(Unit).options(), Row: field},
	}, *update, "go test ./agent/config -update")
}
