package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, path := range files(t, ".md") {
		text := fence.ReplaceAllString(read(t, path), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link to %s: %v", path, match[1], err)
				continue
			}
			if anchor != "" && !anchors(read(t, to))[anchor] {
				t.Errorf("%s: link to %s: no such heading", path, match[1])
			}
		}
	}
}

// Each file and folder that docs/architecture.md names in a table exists.
func TestArchitectureNamesWhatThereIs(t *testing.T) {
	named := 0
	for _, match := range regexp.MustCompile("`([\\w./-]+/[\\w./-]*)`").FindAllStringSubmatch(read(t, root+"/docs/architecture.md"), -1) {
		if strings.HasPrefix(match[1], "/") || match[1] == "net/http" {
			continue
		}
		named++
		if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
			t.Errorf("docs/architecture.md: %v", err)
		}
	}
	if named < 100 {
		t.Errorf("docs/architecture.md names %d files and folders", named)
	}
}

// anchors returns the fragments of a Markdown file's headings, as GitHub generates them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.ToLower(match[1])
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}
