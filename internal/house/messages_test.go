package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each section of docs/messages.md lists exactly the messages that its part of the code logs, at any level.
func TestMessagesAreThoseOfTheCode(t *testing.T) {
	const dropped = "log lines dropped: their reader is too slow" // by internal/logger
	agent := []string{"agent/*.go", "agent/*/*.go", "inject/output/*.go", "cmd/miosa-env/internal/daemon/*.go"}
	for _, test := range []struct {
		heading  string
		files    []string // patterns
		but      []string // patterns of files to exclude
		borrowed []string // messages logged by the code of other commands
	}{
		{"Messages of the agent", agent, nil, []string{
			"key file is accessible to other users: chmod 600 it",
			"key remains visible in this process's environment or arguments",
			"vault has no agent API: listing bindings without values, polling for changes",
			"key may list bindings but not reveal values (MACHINE_KEY_SCOPE): polling for changes",
			"key refused: retrying with the replaced key",
			"key refused and cannot be reread",
			"retrying",
			dropped,
		}},
		{"Messages of other commands", []string{"inject/*.go", "inject/*/*.go", "fetch/*.go", "cmd/miosa-env/internal/*/*.go"}, agent, []string{
			"set changed",
			"cache wiped",
			"state changed",
			"cache unusable",
			"cache not updated",
			"vault unavailable: keeping the last set",
			"secrets expired",
			"vault available again",
			dropped,
		}},
		{"Messages of the vault", []string{"vault/*.go", "vault/*/*.go", "vault/*/*/*.go", "cmd/miosa-vault/*.go"}, nil, []string{dropped}},
		{"Messages of the broker", []string{"egress/*/*.go", "cmd/miosa-egress/*.go", "agent/listener/*.go"}, nil, []string{dropped}},
	} {
		t.Run(test.heading, func(t *testing.T) {
			but := sources(t, test.but)
			logged := slices.Clone(test.borrowed)
			for _, path := range sources(t, test.files) {
				if !slices.Contains(but, path) {
					logged = append(logged, messages(t, path)...)
				}
			}
			slices.Sort(logged)
			explained := captures(section(t, test.heading), "(?m)^\\| (?:trace|debug|info|warn|error) \\| `([^`]+)` \\|")
			slices.Sort(explained)
			if diff := cmp.Diff(slices.Compact(logged), explained); diff != "" {
				t.Errorf("messages (-code +document):\n%s", diff)
			}
		})
	}
}

// docs/messages.md lists exactly the metrics of the code.
func TestMetricsAreThoseOfTheCode(t *testing.T) {
	for _, test := range []struct{ heading, files, pattern, start string }{ // files of several folders: separated by spaces
		{"Metrics of the agent", "agent/socket/metrics.go", `p\.(?:metric|gauge|counter)\("([a-z_]+)"`, "miosa_env_agent_"},
		{"Metrics of the vault", "vault/metrics.go", `Name: "miosa_vault_([a-z_]+)"`, "miosa_vault_"},
		{"Metrics of the broker", "cmd/miosa-egress/metrics.go egress/traffic/metrics.go", `(?:Name: |NewDesc\()"miosa_egress_([a-z_]+)"`, "miosa_egress_"},
	} {
		var code []string
		for file := range strings.FieldsSeq(test.files) {
			for _, name := range captures(read(t, filepath.Join(root, file)), test.pattern) {
				code = append(code, test.start+name)
			}
		}
		if diff := cmp.Diff(code, captures(section(t, test.heading), "(?m)^\\| `([a-z_]+)` \\|")); diff != "" || len(code) < 4 {
			t.Errorf("%s (-code +document):\n%s", test.heading, diff)
		}
	}
}

// Each message that the tables of symptoms quote is one that the code prints.
func TestTroubleshootingQuotesWhatIsPrinted(t *testing.T) {
	var code strings.Builder
	for _, path := range files(t, ".go") {
		if !strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
	}
	for _, test := range []struct {
		page  string
		least int
	}{{"docs/troubleshooting.md", 30}, {"docs/container.md", 4}} {
		printed := captures(read(t, root+"/"+test.page), "(?m)^\\| (?:\\*\\*stale\\*\\*, with )?`([^`]{8,})`(?: in the log, .*?)? \\|")
		for _, text := range printed {
			for part := range strings.SplitSeq(text, "...") {
				if !strings.Contains(code.String(), strings.TrimSpace(part)) {
					t.Errorf("%s: nothing prints %q", test.page, part)
				}
			}
		}
		if len(printed) < test.least {
			t.Errorf("%s: found %d texts", test.page, len(printed))
		}
	}
}

// Durations are logged with Stringer, which includes the unit; zerolog's own are bare numbers.
func TestDurationsAreLoggedWithUnits(t *testing.T) {
	for _, path := range sources(t, []string{"api/*.go", "fetch/*.go", "agent/*.go", "agent/*/*.go", "inject/*.go", "inject/*/*.go", "secrets/*.go", "vault/*.go", "vault/*/*.go", "vault/*/*/*.go", "cmd/*/*.go", "cmd/*/internal/*/*.go"}) {
		fileset := token.NewFileSet()
		file, err := parser.ParseFile(fileset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			method, ok := n.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Dur", "Durs", "TimeDiff"}, method.Sel.Name) {
				t.Errorf("%s: %s writes a number without a unit: use Stringer", fileset.Position(method.Pos()), method.Sel.Name)
			}
			return true
		})
	}
}

// section returns the text of docs/messages.md below a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, root+"/docs/messages.md"), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/messages.md has no %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// sources returns the files that match the patterns, without tests.
func sources(t *testing.T, patterns []string) (all []string) {
	t.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "_test.go") })...)
	}
	return all
}

// messages returns the messages that a file logs.
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
		if method, isMethod := call.Fun.(*ast.SelectorExpr); !ok || !isMethod || method.Sel.Name != "Msg" {
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
