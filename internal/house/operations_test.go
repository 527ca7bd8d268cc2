package house_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of docs/operations.md name each field of the configuration, and no other.
func TestOperationsNameEveryField(t *testing.T) {
	page := read(t, root+"/docs/operations.md")
	section, _, _ := strings.Cut(page[strings.Index(page, "\n## Configuration\n"):], "\n### ")
	documented := captures(section, "(?m)^\\| `([a-z_]+)` \\|")
	existing := captures(read(t, root+"/agent/config/config.go"), `(?m)^\t\t\{"([a-z_]+)", &`)
	if len(existing) < 20 {
		t.Fatalf("found %d fields in agent/config/config.go", len(existing))
	}
	if !slices.Equal(documented, existing) {
		t.Errorf("docs/operations.md has the fields\n%v, the code\n%v", documented, existing)
	}
}

// The tables of docs/vault.md about OAuth have each field that is read.
func TestVaultNamesEveryField(t *testing.T) {
	page := read(t, root+"/docs/vault.md")
	fields := captures(read(t, root+"/vault/oauth/config.go"), "toml:\"([a-z_]+)\"")
	for _, field := range fields {
		if field != "provider" && field != "machine" && field != "client_secret" && !strings.Contains(page, "`"+field+"`") {
			t.Errorf("docs/vault.md doesn't explain %s", field)
		}
	}
	if len(fields) < 10 {
		t.Errorf("found %d fields", len(fields))
	}
}

func captures(text, pattern string) []string {
	var all []string
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}
