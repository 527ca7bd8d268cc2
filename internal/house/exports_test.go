package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Outside api and secrets, which are for other modules too, a function, constant or variable is exported because
// another package uses it, or another name of the same declaration.
func TestExportedNamesAreUsed(t *testing.T) {
	type export struct{ folder, name string }
	exported := map[string][][]export{} // file to the names of each declaration
	used := map[export]bool{}
	fileset := token.NewFileSet()
	for _, path := range files(t, ".go") {
		folder := filepath.Dir(strings.TrimPrefix(path, root+"/"))
		file, err := parser.ParseFile(fileset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		inside := strings.TrimSuffix(file.Name.Name, "_test")
		imports := map[string]string{} // name to folder
		for _, i := range file.Imports {
			if of, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "github.com/Miosa-osa/miosa-env/"); ok {
				name := of[strings.LastIndex(of, "/")+1:]
				if i.Name != nil {
					name = i.Name.Name
				}
				if of != folder || strings.HasSuffix(path, "example_test.go") { // external tests of the package itself don't count
					imports[name] = of
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					used[export{imports[x.Name], s.Sel.Name}] = true
				}
			}
			return true
		})
		if public := regexp.MustCompile(`^(api|secrets|tools|bench|cmd/[^/]+|.*testdata.*)$`); public.MatchString(folder) || inside == "main" || strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, d := range file.Decls {
			var names []export
			for _, name := range declared(d) {
				if ast.IsExported(name) {
					names = append(names, export{folder, name})
				}
			}
			if len(names) > 0 {
				exported[path] = append(exported[path], names)
			}
		}
	}
	for path, declarations := range exported {
		for _, names := range declarations {
			if !slices.ContainsFunc(names, func(e export) bool { return used[e] }) {
				t.Errorf("%s: %s is exported, and no other package uses it", path, names[0].name)
			}
		}
	}
	if len(exported) < 100 {
		t.Errorf("found %d exported names", len(exported))
	}
}

// declared returns the functions, constants and variables that a declaration adds to its package. Exported functions and
// fields may need a type that no other package names.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if values, ok := spec.(*ast.ValueSpec); ok {
				for _, name := range values.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
