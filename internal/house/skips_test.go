package house_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// Tests are skipped through internal/needs, so that the test runner can list what is missing and how to install
// it.
func TestSkipsSayWhatIsNeeded(t *testing.T) {
	skip := regexp.MustCompile(`\.(Skipf|Skip)\([^)]`) // a fuzz target's t.Skip() marks a useless input
	for _, path := range files(t, ".go") {
		if strings.HasPrefix(path, root+"/internal/needs/") || strings.HasPrefix(path, root+"/internal/testrun/") {
			continue
		}
		for n, line := range strings.Split(read(t, path), "\n") {
			if skip.MatchString(line) {
				t.Errorf("%s:%d: skip with internal/needs", path, n+1)
			}
		}
	}
	scripted := regexp.MustCompile(`(?m)^(?:\[[^\]]*\] *)?skip (.*)$`)
	scripts, err := filepath.Glob(root + "/cmd/*/testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		for _, match := range scripted.FindAllStringSubmatch(read(t, path), -1) {
			if _, ok := needs.Find(strings.Trim(match[1], "'")); !ok {
				t.Errorf("%s: skip with 'needs KIND ...', as internal/needs has it, not %s", path, match[1])
			}
		}
	}
}

// internal/needs lists a package for each command that a test requires.
func TestNeededCommandsHaveAPackage(t *testing.T) {
	call := regexp.MustCompile(`needs\.Command\(t, ([^)]*)\)`)
	name := regexp.MustCompile(`"([^"]+)"`)
	found := 0
	for _, path := range files(t, "_test.go") {
		for _, match := range call.FindAllStringSubmatch(read(t, path), -1) {
			for _, command := range name.FindAllStringSubmatch(match[1], -1) {
				found++
				if command[1] != "go" && needs.DebianPackage(command[1]) == "" {
					t.Errorf("%s: no package is known for %s: add it to internal/needs/packages.go", path, command[1])
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d commands", found)
	}
}
