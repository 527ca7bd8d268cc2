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
	existing := captures(read(t, root+"/agent/settings.go"), `(?m)^\t\t\{"([a-z_]+)", &`)
	if len(existing) < 20 {
		t.Fatalf("found %d fields in agent/settings.go", len(existing))
	}
	if !slices.Equal(documented, existing) {
		t.Errorf("docs/operations.md has the fields\n%v, the code\n%v", documented, existing)
	}
}

// Each message that docs/operations.md explains is one that the code logs.
func TestOperationsExplainRealMessages(t *testing.T) {
	var code strings.Builder
	for _, path := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
	}
	rows := regexp.MustCompile("(?m)^\\| (?:info|warn|error) \\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, root+"/docs/operations.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("found %d messages", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(code.String(), `Msg("`+row[1]+`")`) {
			t.Errorf("nothing logs %q", row[1])
		}
	}
}

func captures(text, pattern string) []string {
	var all []string
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}
