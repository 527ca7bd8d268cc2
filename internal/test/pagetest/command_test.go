package pagetest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// Every command that the page shows works when its reader pastes it.
func TestCommands(t *testing.T) {
	s := open(browser.Start(t), t)
	folder := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", folder, "./cmd/miosa-env")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	// shown returns the command lines in the page, or in the open dialog.
	shown := func() (lines []string) {
		t.Helper()
		return eval[[]string](s, "[...(document.querySelector('dialog') || document).querySelectorAll('.command code')].map((e) => e.textContent)")
	}
	paste := func(line, stdin string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, "sh", "-c", line)
		c.Dir, c.Stdin = folder, strings.NewReader(stdin)
		c.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "HOME=" + folder, "MIOSA_TENANT_KEY=" + s.TenantKey.Reveal()}
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
	const uses = `test "$GH_TOKEN" = v && echo works`
	one := func(what string) string {
		t.Helper()
		lines := shown()
		if len(lines) != 1 {
			t.Fatalf("%s: %q", what, lines)
		}
		return lines[0]
	}

	id := s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.press("Resources")
	s.press("Create a key for sandbox " + production.ID)
	s.press("On the command line")
	paste(one("creating a key"), "")
	file := filepath.Join(folder, production.ID+".key")
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ParseKey(strings.TrimSpace(string(key))); err != nil {
		t.Error("the command wrote no key")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.press("Create")
	s.shows("The key is shown only now.")
	lines := shown()
	if len(lines) != 3 {
		t.Fatalf("a new key: %d lines", len(lines))
	}
	paste(lines[1], lines[0]+"\n")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", file, err)
	}
	if out := paste(lines[2], uses); out != "works\n" {
		t.Errorf("%s: printed %q", lines[2], out)
	}
	s.close()

	s.press("Keys")
	s.press("Create a key")
	s.choose("For", "managing this tenant")
	s.press("Create")
	s.shows("The key is shown only now.")
	if lines = shown(); len(lines) != 3 {
		t.Fatalf("a new tenant key: %d lines", len(lines))
	}
	paste(lines[1], lines[0]+"\n")
	if out := paste("unset MIOSA_TENANT_KEY; "+lines[2]+" && miosa-env secrets list", ""); !strings.Contains(out, "github") {
		t.Errorf("%s: it lists %q", lines[2], out)
	}
	s.close()

	for range 110 {
		s.Rotate(t, id, "v")
	}
	s.press("Audit")
	s.shows("The latest 100 events")
	if out := paste(one("the audit log"), ""); strings.Count(out, "secret.rotate") != 110 {
		t.Errorf("it shows %d rotations", strings.Count(out, "secret.rotate"))
	}

	// A new command is to be pasted here too.
	var found []string
	paths, err := filepath.Glob("../../../vault/page/static/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), " command(")[1:] {
			call, _, _ := strings.Cut(part, "\n")
			found = append(found, filepath.Base(path)+" "+strings.TrimRight(call, "),;]"))
		}
	}
	want := []string{
		"audit.js allEvents(", "audit.js head.hash", "command.js text) {", "connections.js here('api/v1/egress/oauth/callback'", // a hash, an address
		"keyactions.js newKey(r", "keyactions.js created.key", "keyactions.js storeKey(created", "keyactions.js agent ? run(created) : useTenantKey(created",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	s.noProblems()
}
