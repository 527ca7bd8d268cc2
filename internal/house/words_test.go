package house_test

import (
	"regexp"
	"strings"
	"testing"
)

// Documents and names follow the word list that the linter applies to comments: misspell's extra-words in
// .golangci.yml.
func TestWords(t *testing.T) {
	var words []string
	for _, match := range regexp.MustCompile(`(?m)^ *- typo: (\w+)$`).FindAllStringSubmatch(read(t, root+"/.golangci.yml"), -1) {
		words = append(words, match[1])
	}
	if len(words) < 5 {
		t.Fatalf(".golangci.yml: %d words", len(words))
	}
	word := regexp.MustCompile(`(?i)(^|[^-\w])(` + strings.Join(words, "|") + `)([^-\w]|$)|tells (whether|if)\b`)
	for _, path := range files(t, ".go", ".s", ".sh", ".md", "Makefile", ".ci/run", ".txtar", ".service") {
		for n, line := range strings.Split(read(t, path), "\n") {
			if found := word.FindString(line); found != "" && !strings.Contains(line, "regexp") {
				t.Errorf("%s:%d: %q isn't used here; docs/architecture.md has a glossary", path, n+1, strings.TrimSpace(found))
			}
		}
	}
}
