package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tables of docs/operations.md name each field of the configuration, and no other.
func TestOperationsNameEveryField(t *testing.T) {
	page := read(t, root+"/docs/operations.md")
	section, _, _ := strings.Cut(page[strings.Index(page, "\n## Configuration\n"):], "\n### ")
	documented := captures(section, "(?m)^\\| `([a-z_]+)` \\|")
	existing := captures(read(t, root+"/agent/settings.go"), `(?m)^\t\t\{"([a-z_]+)", &`)
	if len(existing) < 20 {
		t.Fatalf("found %d fields in agent/settings.go", len(existing))
	}
	if !slices.Equal(documented, existing) {
		t.Errorf("docs/operations.md has the fields\n%v, the code\n%v", documented, existing)
	}
}

// The table of docs/operations.md has each message that a running agent logs at info and above.
func TestOperationsExplainEveryMessage(t *testing.T) {
	explained := captures(read(t, root+"/docs/operations.md"), "(?m)^\\| (?:info|warn|error) \\| `([^`]+)` \\|")
	logged := 0
	for _, pattern := range []string{"agent/*.go", "inject/output*.go", "cmd/miosa-env/daemon*.go"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, message := range messages(t, path) {
				logged++
				if !slices.Contains(explained, message) {
					t.Errorf("%s logs %q, which docs/operations.md doesn't explain", path, message)
				}
			}
		}
	}
	if logged < 20 {
		t.Errorf("found %d messages", logged)
	}
}

// The table of docs/vault.md has each message that a vault logs at info and above, and no other; its tables of
// OAuth have each field that is read.
func TestVaultExplainsEveryMessageAndField(t *testing.T) {
	page := read(t, root+"/docs/vault.md")
	explained := captures(page, "(?m)^\\| (?:info|warn|error) \\| `([^`]+)` \\|")
	var logged []string
	for _, pattern := range []string{"vault/*.go", "vault/oauth/*.go", "cmd/miosa-vault/*.go"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				logged = append(logged, messages(t, path)...)
			}
		}
	}
	slices.Sort(logged)
	slices.Sort(explained)
	if diff := cmp.Diff(slices.Compact(logged), explained); diff != "" {
		t.Errorf("messages (-code +document):\n%s", diff)
	}
	fields := captures(read(t, root+"/vault/oauth/config.go"), "toml:\"([a-z_]+)\"")
	for _, field := range fields {
		if field != "provider" && field != "machine" && field != "client_secret" && !strings.Contains(page, "`"+field+"`") {
			t.Errorf("docs/vault.md doesn't explain %s", field)
		}
	}
	if len(fields) < 10 {
		t.Errorf("found %d fields", len(fields))
	}
}

// messages gives what a file logs, but for what is plainly logged at debug or trace level.
func messages(t *testing.T, path string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		text, ok := call.Args[0].(*ast.BasicLit)
		if method, isMethod := call.Fun.(*ast.SelectorExpr); !ok || !isMethod || method.Sel.Name != "Msg" || quiet(method.X) {
			return true
		}
		message, err := strconv.Unquote(text.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, message)
		return true
	})
	return all
}

// quiet tells whether a chain of calls begins an event at debug or trace level.
func quiet(chain ast.Expr) bool {
	for {
		switch e := chain.(type) {
		case *ast.CallExpr:
			chain = e.Fun
		case *ast.SelectorExpr:
			if e.Sel.Name == "Debug" || e.Sel.Name == "Trace" {
				return true
			}
			chain = e.X
		default:
			return false
		}
	}
}

// Each message that docs/operations.md explains is one that the code logs.
func TestOperationsExplainRealMessages(t *testing.T) {
	var code strings.Builder
	for _, path := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
	}
	rows := regexp.MustCompile("(?m)^\\| (?:info|warn|error) \\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, root+"/docs/operations.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("found %d messages", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(code.String(), `Msg("`+row[1]+`")`) {
			t.Errorf("nothing logs %q", row[1])
		}
	}
}

func captures(text, pattern string) []string {
	var all []string
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}
