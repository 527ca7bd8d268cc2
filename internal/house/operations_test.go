package house_test

import (
	"regexp"
	"strings"
	"testing"
)

// The OAuth tables of docs/vault.md list each field that is read.
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
