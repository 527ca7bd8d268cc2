package house_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Limits on the layout. Source: CONTRIBUTING.md, "Where things go".
const (
	maxFiles  = 20  // source files in a folder
	maxLines  = 400 // lines of a source file
	maxPrefix = 2   // files of a folder with the same prefix before "_"
)

// platform is the end of a file name that selects what it is built for.
var platform = regexp.MustCompile(`_(linux|darwin|other|unix|amd64|arm64)$`)

// A folder is a package that a reader can take in: few files, none of them long, and no prefix of file names that
// stands for a package of its own. Tests don't count.
func TestLayout(t *testing.T) {
	files := sourceFiles(t)
	byFolder := map[string][]string{}
	for _, path := range files {
		byFolder[filepath.Dir(path)] = append(byFolder[filepath.Dir(path)], filepath.Base(path))
		if n := strings.Count(read(t, path), "\n"); n > maxLines {
			t.Errorf("%s: %d lines, at most %d: split it by noun", path, n, maxLines)
		}
	}
	for folder, names := range byFolder {
		if len(names) > maxFiles {
			t.Errorf("%s: %d source files, at most %d: move some to a package of their own", folder, len(names), maxFiles)
		}
		prefixes := map[string]map[string]bool{} // prefix to names without their platform
		for _, name := range names {
			name = platform.ReplaceAllString(strings.TrimSuffix(name, ".go"), "")
			prefix, _, _ := strings.Cut(name, "_")
			if prefixes[prefix] == nil {
				prefixes[prefix] = map[string]bool{}
			}
			prefixes[prefix][name] = true
		}
		for prefix, names := range prefixes {
			if len(names) > maxPrefix {
				t.Errorf("%s: %d files begin with %q: make it a package", folder, len(names), prefix)
			}
		}
	}
}

// sourceFiles lists the Go files that aren't tests.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, path := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			found = append(found, path)
		}
	}
	return found
}
