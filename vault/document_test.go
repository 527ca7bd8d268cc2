package vault

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The first table of docs/api.md names every route there is, with the keys that may use it, and no
// other as served.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+ /egress[^`]*)` \\| ([a-z, ]+) \\| (yes|not yet) \\|")
	var written, registered []string
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		if match[3] == "yes" {
			written = append(written, match[1]+" ("+match[2]+")")
		}
	}
	keys := map[access]string{tenantOnly: "t", resourceOnly: "r", anyKey: "t, r"}
	for _, rt := range new(Vault).contract() {
		registered = append(registered, rt.name()+" ("+keys[rt.allow]+")")
	}
	slices.Sort(written)
	slices.Sort(registered)
	if diff := cmp.Diff(registered, written); diff != "" {
		t.Errorf("docs/api.md, \"Every call\" (-registered +document):\n%s", diff)
	}
}

// The audit's table names every action, since people filter by them.
func TestActionsAreThoseOfTheDocument(t *testing.T) {
	source, err := os.ReadFile("audit.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| action | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var coded, written []string
	for _, match := range regexp.MustCompile(`(?m)^\tact\w+ += "([a-z.]+)"`).FindAllSubmatch(source, -1) {
		coded = append(coded, string(match[1]))
	}
	for row := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, match := range regexp.MustCompile("`([a-z.]+)`").FindAllStringSubmatch(first, -1) {
			written = append(written, match[1])
		}
	}
	slices.Sort(coded)
	slices.Sort(written)
	if diff := cmp.Diff(coded, written); diff != "" || len(coded) == 0 {
		t.Errorf("docs/api.md, \"Audit\": %d actions (-code +document):\n%s", len(coded), diff)
	}
}
