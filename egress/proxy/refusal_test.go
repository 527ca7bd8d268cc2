package proxy_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The guide lists the reasons of the code.
func TestReasonsAreThoseOfTheGuide(t *testing.T) {
	t.Parallel()
	find := func(path, pattern string) (found []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			found = append(found, match[1])
		}
		slices.Sort(found)
		return found
	}
	code, guide := find("refusal.go", `Reason = "(\w+)"`), find("../../docs/egress.md", "(?m)^\\| `(\\w+)` \\| (?:\\d{3}|closed)")
	if diff := cmp.Diff(code, guide); diff != "" || len(code) < 10 {
		t.Errorf("docs/egress.md (-code +guide):\n%s", diff)
	}
}
