package house_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The README's tables list exactly the flags of `miosa-env run`.
func TestReadmeNamesEveryFlag(t *testing.T) {
	flags := regexp.MustCompile(`--[a-z][a-z-]+`)
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `.*$").FindAllString(read(t, root+"/README.md"), -1) {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, flag := range flags.FindAllString(first, -1) {
			documented[flag] = true
		}
	}
	help := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", "./cmd/miosa-env", "run", "--help")
	help.Dir, help.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := help.CombinedOutput()
	if err != nil {
		t.Fatalf("miosa-env run --help: %v\n%s", err, out)
	}
	existing := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^ +(-[a-z], )?--[a-z].*$`).FindAllString(string(out), -1) {
		existing[flags.FindString(line)] = true
	}
	if len(existing) < 5 {
		t.Fatalf("found %d flags in miosa-env run --help:\n%s", len(existing), out)
	}
	for flag := range existing {
		if !documented[flag] && flag != "--help" {
			t.Errorf("README.md names %s in no table", flag)
		}
	}
	for flag := range documented {
		if !existing[flag] {
			t.Errorf("README.md names %s, which miosa-env run doesn't have", flag)
		}
	}
}
