package vault

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// The first two tables of docs/api.md list exactly the registered routes, with the keys that may use them.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var written, registered []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /egress[^`]*)` \\| ([a-z, ]+) \\|").FindAllStringSubmatch(string(text), -1) {
		written = append(written, match[1]+" ("+match[2]+")")
	}
	_, beside, _ := strings.Cut(string(text), "\n### Outside the API\n")
	beside, _, _ = strings.Cut(beside, "\n## ")
	for _, match := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\|").FindAllStringSubmatch(beside, -1) {
		written = append(written, match[1]+" (none)")
	}
	c := newConnected(t, 3600)
	v := c.vault
	made, err := v.store.IssueKey(t.Context(), c.owner, api.KeyRequest{Broker: true, Restrictions: api.Restrictions{Resources: []string{box1.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(made.Key)
	if err != nil {
		t.Fatal(err)
	}
	broker := actorOf(t, v.store, key)
	for _, rt := range v.routes {
		var keys []string
		for _, key := range []struct {
			kind  string
			actor store.Actor
		}{{"t", c.owner}, {"r", c.reader}, {"b", broker}} {
			switch err := v.store.Permit(t.Context(), key.actor, rt.action, box1); {
			case err == nil:
				keys = append(keys, key.kind)
			case !errors.Is(err, api.ErrDenied):
				t.Fatal(err)
			}
		}
		registered = append(registered, rt.name()+" ("+strings.Join(keys, ", ")+")")
	}
	for pattern := range v.openRoutes() {
		registered = append(registered, strings.NewReplacer(basePath, "", "{$}", "").Replace(pattern)+" (none)")
	}
	slices.Sort(written)
	slices.Sort(registered)
	if diff := cmp.Diff(registered, written); diff != "" {
		t.Errorf("docs/api.md, \"Every call\" (-registered +document):\n%s", diff)
	}
}

// The table of the SDKs' routes says truly which of them the vault serves.
func TestRoutesOfTheSDKs(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Routes of MIOSA's SDKs\n")
	table, _, _ = strings.Cut(table, "\n## ")
	v := newConnected(t, 3600).vault
	served := map[string]bool{"GET /egress/oauth/callback": true}
	for _, rt := range v.routes {
		served[rt.name()] = true
	}
	rows := regexp.MustCompile("(?m)^\\| `([A-Z]+ /egress[^`]*)` \\| \\*\\*(Yes|No)\\*\\* \\|").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		if served[row[1]] != (row[2] == "Yes") {
			t.Errorf("docs/api.md: %s is served: %s", row[1], row[2])
		}
		delete(served, row[1])
	}
	if len(rows) < 25 {
		t.Errorf("found %d routes", len(rows))
	}
	for name := range served { // the agent's and the command line's own
		if _, path, _ := strings.Cut(name, " "); !regexp.MustCompile(`^/egress/(resource-keys|keys|traffic|bindings/reveal|audit/head|audit/verify|audit/export)`).MatchString(path) {
			t.Errorf("docs/api.md: %s isn't in the table of the SDKs' routes", name)
		}
	}
}

// The audit's table lists every action, because users filter by action.
func TestActionsAreThoseOfTheDocument(t *testing.T) {
	var source []byte
	for _, path := range []string{"store/audit.go", "audit/audit.go"} {
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, part...)
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
	for _, rt := range new(Vault).keyRoutes() {
		if rt.action != "" && !slices.Contains(coded, rt.action) { // "": all keys may
			t.Errorf("%s: %q is not an audit action", rt.name(), rt.action)
		}
	}
}
