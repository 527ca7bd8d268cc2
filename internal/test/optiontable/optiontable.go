// Package optiontable compares the tables of options in documents with the options.
package optiontable

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/option"
)

// Table is a table in a document.
type Table struct {
	Name    string // of the test
	File    string // the document
	Head    string // the text that ends with the table's head
	Options []option.Option
	Row     func(option.Option) string // the result of Row; "": it isn't in the table
}

// Test checks that the tables are those of the options. With update, it writes them. command is the one that does so.
func Test(t *testing.T, tables []Table, update bool, command string) {
	for _, test := range tables {
		t.Run(test.Name, func(t *testing.T) {
			text, err := os.ReadFile(test.File)
			if err != nil {
				t.Fatal(err)
			}
			before, rest, found := strings.Cut(string(text), test.Head)
			table, after, ends := strings.Cut(rest, "\n\n")
			if !found || !ends {
				t.Fatalf("%s has no table that begins\n%s", test.File, test.Head)
			}
			var want strings.Builder
			for _, o := range test.Options {
				if o.Required != "" {
					o.Default = "required"
				}
				want.WriteString(test.Row(o))
			}
			if update {
				if err := os.WriteFile(test.File, []byte(before+test.Head+want.String()+"\n"+after), 0o644); err != nil { //nolint:gosec // a document
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(table+"\n", want.String()); diff != "" {
				t.Errorf("%s: %s (-document +options):\n%s", test.File, command, diff)
			}
		})
	}
}

// Row is a row of a table.
func Row(cells ...string) string {
	line := "|"
	for _, cell := range cells {
		if cell != "" {
			line += " " + cell
		}
		line += " |"
	}
	return line + "\n"
}

// Code is text as code; "" stays empty.
func Code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
