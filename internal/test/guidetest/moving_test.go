package guidetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

// foreign are the results of other programs' commands, which docs/moving.md shows and no test runs.
var foreign = map[string]string{
	"app.json":       `{"DB_URL": "postgres://app:an'example\"$word@db/app", "TLS_KEY": "line 1\nline 2\n", "EMPTY": ""}`,
	"doppler.json":   `{"STRIPE_KEY": "an-example-key", "STRIPE_HOOK": "another"}`,
	"envconsul.json": `{"secret_app_url": "postgres://example"}`,
}

func TestMovingGuide(t *testing.T) {
	page := document.Read(t, root+"/docs/moving.md")
	dir := t.TempDir()
	for name, text := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := page.Block(t, "Before you start", "sh")
	rest, starts := strings.CutPrefix(page.Script(t, "TestMovingGuide", "sh"), start)
	if !starts {
		t.Fatal("the first block isn't the one that starts a vault")
	}
	out := session(t, start+"cp \"$THEIRS\"/*.json .\n"+rest, "THEIRS="+dir).Run(t)
	prints(t, page, out)
}

// Each flag, field and variable of this project in docs/moving.md exists.
func TestMovingGuideNamesWhatThereIs(t *testing.T) {
	if err := build(); err != nil {
		t.Fatal(err)
	}
	var ours strings.Builder
	for _, command := range []string{"run", "export", "agent", "doctor", "import", "secrets set", "secrets rotate", "bindings create", "keys create", "audit", "status"} {
		help := exec.CommandContext(t.Context(), filepath.Join(folder, "bin/miosa-env"), append(strings.Fields(command), "--help")...)
		out, err := help.CombinedOutput()
		if err != nil {
			t.Fatalf("miosa-env %s --help: %v\n%s", command, err, out)
		}
		ours.Write(out)
	}
	ours.WriteString(document.Read(t, root+"/docs/operations.md").Text)
	known := strings.FieldsFunc(ours.String(), func(r rune) bool {
		return r != '-' && r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	quoted := regexp.MustCompile("`[^`]+`")
	word := regexp.MustCompile(`--[a-z][a-z-]+|\bMIOSA_[A-Z_]+|\b[a-z]+_[a-z_]+\b`)
	n := 0
	for _, row := range regexp.MustCompile(`(?m)^\| .* \| (.*) \|$`).FindAllStringSubmatch(document.Read(t, root+"/docs/moving.md").Text, -1) {
		for _, code := range quoted.FindAllString(row[1], -1) {
			for _, name := range word.FindAllString(code, -1) {
				if n++; !slices.Contains(known, name) {
					t.Errorf("docs/moving.md names %s, which there isn't: %s", name, row[0])
				}
			}
		}
	}
	if n < 80 {
		t.Errorf("found %d names", n)
	}
}
