package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The document lists the refused names of the code.
func TestGuardedNamesAreThoseOfTheDocument(t *testing.T) {
	document := read(t, root+"/docs/security.md")
	file, err := parser.ParseFile(token.NewFileSet(), root+"/inject/environ/refused_names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string // the function that contains the names
		heading string // the heading of the document's list
	}{
		{"runsCode", "### Names that run code"},
		{"movesTraffic", "### Names that redirect traffic or change trust"},
		{"isCredential", "### Credentials with such names"},
		{"changesBehaviour", "### Names that change how programs behave"},
		{"IsOwn", "### Reserved names"},
	} {
		t.Run(test.name, func(t *testing.T) {
			coded := patterns(file, test.name)
			_, section, found := strings.Cut(document, test.heading+"\n")
			if len(coded) == 0 || !found {
				t.Fatalf("nothing to compare: %d names in %s, heading %q found: %v", len(coded), test.name, test.heading, found)
			}
			section, _, _ = strings.Cut(section, "\n#")
			var written []string
			for _, match := range regexp.MustCompile("`([A-Za-z0-9_*]+)`").FindAllStringSubmatch(section, -1) {
				written = append(written, match[1])
			}
			slices.Sort(written)
			if diff := cmp.Diff(coded, written); diff != "" {
				t.Errorf("docs/security.md, %q (-code +document):\n%s", test.heading, diff)
			}
		})
	}
}

// patterns returns the names that a function contains, in the document's form: a prefix as NAME*, a suffix as
// *NAME.
func patterns(file *ast.File, function string) []string {
	var names []string
	add := func(exprs []ast.Expr, before, after string) {
		for _, e := range exprs {
			if text, ok := e.(*ast.BasicLit); ok {
				name, _ := strconv.Unquote(text.Value)
				names = append(names, before+name+after)
			}
		}
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != function {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CaseClause:
				add(n.List, "", "")
			case *ast.CallExpr:
				if called, ok := n.Fun.(*ast.Ident); ok && strings.Contains(called.Name, "Prefix") {
					add(n.Args, "", "*")
				} else if ok && strings.Contains(called.Name, "Suffix") {
					add(n.Args, "*", "")
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return names
}
