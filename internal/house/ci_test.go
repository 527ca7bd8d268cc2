package house_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// The workflow runs the commands that CONTRIBUTING.md lists for CI, with the Go version of go.mod.
func TestWorkflowRunsCI(t *testing.T) {
	workflow := read(t, root+"/.github/workflows/ci.yml")
	if !regexp.MustCompile(`(?m)^ +(- run: |HOME=\S+ )?\.ci/run$`).MatchString(workflow) {
		t.Error("ci.yml doesn't run .ci/run")
	}
	image := captures(workflow, `image: golang:(\d+\.\d+)-`)
	version := captures(read(t, root+"/go.mod"), `(?m)^go (\d+\.\d+)`)
	if len(image) != 1 || !slices.Equal(image, version) {
		t.Errorf("ci.yml has an image of Go %v, go.mod is for Go %v", image, version)
	}
}

// Dependabot updates each Go module of the repository.
func TestDependabotNamesEveryModule(t *testing.T) {
	config := read(t, root+"/.github/dependabot.yml")
	for _, path := range files(t, "go.mod") {
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join("/", dir)
		if !regexp.MustCompile(`(?m)^ +- ` + regexp.QuoteMeta(dir) + `$`).MatchString(config) {
			t.Errorf("dependabot.yml doesn't name %s", dir)
		}
	}
}

// `make fuzz` finds targets by `go test -list`, which lists the module's own packages for this platform only. All
// targets must be among them.
func TestFuzzTargetsAreFound(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	compiled := strings.Fields(string(out))
	found := 0
	for _, path := range files(t, ".go") {
		targets := captures(read(t, path), `(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)
		found += len(targets)
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(targets) > 0 && !slices.Contains(compiled, abs) {
			t.Errorf("%s: make fuzz doesn't find %v", path, targets)
		}
	}
	if found < 20 {
		t.Errorf("found %d fuzz targets", found)
	}
}

// `make fuzz` runs the targets that it finds.
func TestMakeFuzz(t *testing.T) {
	needs.Command(t, "make")
	needs.Long(t, "it compiles fuzz targets")
	fuzz := exec.CommandContext(t.Context(), "make", "--no-print-directory", "fuzz", "PKG=./internal/delay ./internal/nearest", "FUZZTIME=1x")
	fuzz.Dir = root
	out, err := fuzz.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "fuzz: github.com/Miosa-osa/miosa-env/internal/nearest:FuzzDistance\n") || !strings.Contains(string(out), "\nfuzz: elapsed: ") {
		t.Errorf("make fuzz: %v\n%s", err, out)
	}
}

// CONTRIBUTING.md names only targets that the Makefile has, and every target that runs tests.
func TestContributingNamesTargets(t *testing.T) {
	targets := captures(read(t, root+"/Makefile"), `(?m)^([a-z-]+):.*## `)
	named := captures(read(t, root+"/CONTRIBUTING.md"), "(?:    |`)make ([a-z-]+)")
	for _, target := range named {
		if !slices.Contains(targets, target) {
			t.Errorf("CONTRIBUTING.md names make %s, which isn't there", target)
		}
	}
	for _, target := range []string{"test-fast", "test", "check", "race", "fuzz", "bench"} {
		if !slices.Contains(named, target) {
			t.Errorf("CONTRIBUTING.md doesn't name make %s", target)
		}
	}
}

// The packages that `make test-fast` and `make race` exclude exist.
func TestPackagesLeftOutExist(t *testing.T) {
	names := captures(read(t, root+"/Makefile"), `(?m)^MACHINES := /internal/test/\(([a-z0-9|]+)\)`)
	if len(names) != 1 {
		t.Fatalf("Makefile has MACHINES as %q", names)
	}
	for name := range strings.SplitSeq(names[0], "|") {
		if found, err := filepath.Glob(root + "/internal/test/" + name + "/*_test.go"); err != nil || len(found) == 0 {
			t.Errorf("the Makefile's MACHINES names internal/test/%s, which has no tests: %v", name, err)
		}
	}
}
