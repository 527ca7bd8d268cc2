package config

import (
	"flag"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/test/optiontable"
)

var update = flag.Bool("update", false, "write the tables of options in the documents")

// The tables of options in docs/egress.md are those that -update generates.
func TestDocuments(t *testing.T) {
	const file = "../../docs/egress.md"
	row, code := optiontable.Row, optiontable.Code
	optiontable.Test(t, []optiontable.Table{
		{Name: "options", File: file, Head: "| field | flag | variable | default | |\n|---|---|---|---|---|\n", Options: new(Config).Options(), Row: func(o option.Option) string {
			flag := ""
			if o.Flag != "" {
				flag = code("--" + o.Flag)
			}
			return row(code(o.Field), flag, code(o.Variable), o.Default, o.Help)
		}},
		{Name: "listeners", File: file, Head: "Fields of each `[[listener]]`:\n\n| field | default | |\n|---|---|---|\n", Options: new(Listener).options(), Row: func(o option.Option) string {
			return row(code(o.Field), o.Default, o.Help)
		}},
	}, *update, "go test ./egress/config -update")
}
