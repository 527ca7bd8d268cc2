package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

// A comment above each block of commands in the README and the guides names the test that runs it, or states that
// none does and why:
//
//	<!-- TestStart runs this block as it stands. -->
//	<!-- A test runs this block on a Debian that it boots. -->
//	<!-- No test runs this block: it is Vault's. -->
func TestEachBlockOfCommandsIsRun(t *testing.T) {
	run := regexp.MustCompile(`^(Test[A-Z]\w*|A test) runs `)
	exempt := regexp.MustCompile(`^No test runs (this|these) \w+: \S.{9,}\.$`)
	tests := testsByName(t)
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	named := map[string]bool{} // tests named in comments
	for _, path := range append(pages, root+"/README.md") {
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range document.Read(t, path).Blocks() {
			if b.Language != "sh" && b.Language != "bash" && b.Language != "shell" && b.Language != "console" {
				continue
			}
			match := run.FindStringSubmatch(b.Comment)
			switch {
			case match != nil && !strings.Contains(tests[match[1]], name[strings.LastIndex(name, "/")+1:]):
				t.Errorf("%s:%d: no file has a %s that reads this document", name, b.Line, match[1])
			case match != nil:
				named[match[1]] = true
			case exempt.MatchString(b.Comment):
			default:
				t.Errorf("%s:%d: say in a comment right above these commands that a test runs them (<!-- TestNAME runs this block ... -->), or that none does (<!-- No test runs this block: REASON. -->); it says %q", name, b.Line, b.Comment)
			}
		}
	}
	if len(named) < 3 {
		t.Errorf("the documents name %d tests", len(named))
	}
}

// The README's commands have no comments, because zsh by default treats a comment at its prompt as arguments.
func TestReadmeHasNoCommentsToType(t *testing.T) {
	comment := regexp.MustCompile(`(?m)^#|\s#\s[^'"]*$`)
	for _, b := range document.Read(t, root+"/README.md").Blocks() {
		if b.Language == "sh" && comment.MatchString(b.Body) {
			t.Errorf("README.md:%d: say what %q says above the block", b.Line, comment.FindString(b.Body))
		}
	}
}

// testsByName returns the text of test files: under the name of a test, those that contain it; under "A test", all
// of them. This file is excluded, because it names documents without reading them.
func testsByName(t *testing.T) map[string]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(t \*testing\.T\)`)
	texts := map[string]string{}
	for _, path := range files(t, "_test.go") {
		if strings.HasSuffix(path, "house/blocks_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			texts[match[1]] += string(text)
		}
		texts["A test"] += string(text)
	}
	return texts
}
