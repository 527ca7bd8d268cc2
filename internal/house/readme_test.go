package house_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

// folder is where build creates bin/.
var folder string

// build builds both programs as `make build` does, except for its size optimizations, once for all tests.
var build = sync.OnceValues(func() (bin string, err error) {
	bin = filepath.Join(folder, "bin")
	command := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/", "./cmd/...")
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return bin, fmt.Errorf("go build ./cmd/...: %w\n%s", err, out)
	}
	return bin, nil
})

func built(t *testing.T) (bin string) {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

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
	help := exec.CommandContext(t.Context(), filepath.Join(built(t), "miosa-env"), "run", "--help")
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
