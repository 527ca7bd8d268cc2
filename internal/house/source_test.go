package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, relative to this package's folder.
const root = "../.."

// files returns the repository's files with one of the suffixes, without build output and fixtures.
func files(t *testing.T, suffixes ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			switch d.Name() {
			case ".git", "bin", "dist", "testdata":
				return filepath.SkipDir
			}
			return nil
		}
		for _, s := range suffixes {
			if strings.HasSuffix(path, s) {
				found = append(found, path)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no file ends in %v", suffixes)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryPackageHasADocComment(t *testing.T) {
	documented := map[string]bool{} // by folder
	for _, path := range files(t, ".go") {
		folder := filepath.Dir(path)
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		documented[folder] = documented[folder] || saysWhatItIs(f, filepath.Base(folder))
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment", folder)
		}
	}
}

// saysWhatItIs reports whether a file's package comment begins as Go's tools expect: with Package NAME for a
// library, with Command NAME or the capitalized name for a program.
func saysWhatItIs(f *ast.File, folder string) bool {
	doc, name := f.Doc.Text(), f.Name.Name
	if name != "main" {
		return strings.HasPrefix(doc, "Package "+name+" ")
	}
	return strings.HasPrefix(doc, "Command "+folder+" ") || strings.HasPrefix(doc, strings.ToUpper(folder[:1])+folder[1:]+" ")
}

func TestNothingIsLeftOpen(t *testing.T) {
	// Concatenated, so that this file does not match.
	open := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b|not ` + `implemented|un` + `implemented`)
	for _, path := range files(t, ".go", ".s", ".sh", ".md", ".yml", ".toml", ".sql", "Makefile", ".ci/run") {
		for n, line := range strings.Split(read(t, path), "\n") {
			if found := open.FindString(line); found != "" {
				t.Errorf("%s:%d: %q: finish it", path, n+1, found)
			}
		}
	}
}

// The linter checks direct imports; this test checks the dependencies of imports.
func TestAgentLinksNothingOfTheVault(t *testing.T) {
	linked := dependencies(t, "./cmd/miosa-env")
	for _, forbidden := range []string{
		"github.com/Miosa-osa/miosa-env/vault", "modernc.org/", "github.com/tink-crypto/",
		"github.com/prometheus/", "google.golang.org/protobuf", "database/sql", "testing",
	} {
		for _, dep := range linked {
			if dep == forbidden || strings.HasPrefix(dep, strings.TrimSuffix(forbidden, "/")+"/") {
				t.Errorf("miosa-env links %s", dep)
			}
		}
	}
}

// Package api depends only on the standard library and, to block signals while values are in registers, x/sys, so
// that other clients can use it.
func TestContractLinksLittle(t *testing.T) {
	for _, dep := range dependencies(t, "./api") {
		switch first, _, _ := strings.Cut(dep, "/"); {
		case !strings.Contains(first, "."), dep == "github.com/Miosa-osa/miosa-env/api", dep == "golang.org/x/sys/unix":
		default:
			t.Errorf("api links %s: it needs the standard library and golang.org/x/sys only", dep)
		}
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg)
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
