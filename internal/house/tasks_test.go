package house_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// CONTRIBUTING.md lists the files of common changes, each with an example that is in the code already. The example must
// occur in those source files and no others, and its last word in the documents listed.
func TestTasksListTheirFiles(t *testing.T) {
	_, table, found := strings.Cut(read(t, root+"/CONTRIBUTING.md"), "\n## Common changes\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no section on common changes")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	quoted := regexp.MustCompile("`([^`]+)`")
	path := regexp.MustCompile("`([\\w/.-]+\\.(?:go|sql|md))`")
	rows := 0
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(row, " | ")
		if len(cells) != 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		rows++
		t.Run(strings.TrimPrefix(cells[0], "| "), func(t *testing.T) {
			// Words of a name may be joined by capitals, underscores or hyphens.
			words := strings.Split(quoted.FindStringSubmatch(cells[1])[1], "_")
			example := regexp.MustCompile(`(?i)(^|[^a-z])` + strings.Join(words, "[_-]?") + `([^a-z]|$)`)
			var listed []string
			for _, match := range path.FindAllStringSubmatch(cells[2], -1) {
				if !strings.HasSuffix(match[1], ".md") {
					listed = append(listed, match[1])
				} else if last := words[len(words)-1]; !strings.Contains(strings.ToLower(read(t, filepath.Join(root, match[1]))), strings.ToLower(last)) {
					t.Errorf("%s doesn't have %s", match[1], last)
				}
			}
			var has []string
			for _, file := range files(t, ".go", ".sql") {
				if !strings.HasSuffix(file, "_test.go") && example.MatchString(read(t, file)) {
					has = append(has, strings.TrimPrefix(file, root+"/"))
				}
			}
			slices.Sort(listed)
			listed = slices.Compact(listed)
			slices.Sort(has)
			if diff := cmp.Diff(has, listed); diff != "" {
				t.Errorf("files with %s (-code +CONTRIBUTING.md):\n%s", example, diff)
			}
		})
	}
	if rows != 10 {
		t.Errorf("CONTRIBUTING.md: %d common changes", rows)
	}
}
