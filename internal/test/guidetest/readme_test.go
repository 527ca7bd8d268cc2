package guidetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/google/go-cmp/cmp"
)

// inTryIt inserts a script into the session of README.md's section Try it, before its vault is ended.
func inTryIt(t *testing.T, script string, more ...string) document.Session {
	t.Helper()
	tryIt := document.Read(t, root+"/README.md").Block(t, "Try it", "sh")
	return session(t, tryIt+script+"kill $vault\n", more...)
}

// README.md works from top to bottom in one shell and one folder and prints the quoted output: as the current user
// and, if that is root, also as an ordinary user.
func TestReadme(t *testing.T) {
	needs.Command(t, "git", "make")
	t.Run("this user", func(t *testing.T) { readme(t, nil) })
	t.Run("an ordinary user", func(t *testing.T) {
		if os.Getuid() != 0 {
			return // unchanged
		}
		// Root with another id in a user namespace: it uses root's caches of modules and objects.
		const id = 1000
		attr := &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: id, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: id, Size: 1}},
			Credential:  &syscall.Credential{Uid: id, Gid: id, NoSetGroups: true},
		}
		try := exec.CommandContext(t.Context(), "id", "-u")
		try.SysProcAttr = attr
		out, err := try.CombinedOutput()
		needs.Granted(t, withOutput(err, out), "a user namespace")
		if strings.TrimSpace(string(out)) != strconv.Itoa(id) {
			t.Fatalf("the user's id is %s", out)
		}
		readme(t, attr)
	})
}

func readme(t *testing.T, attr *syscall.SysProcAttr) {
	t.Helper()
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(checkout, ".git")); err != nil {
		needs.System(t, "a clone of the repository, which this isn't: %v", err)
	}
	cached, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE", "GOCACHE", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	of := strings.Split(string(cached), "\n")
	folder := filepath.Join(t.TempDir(), "a folder") // its path contains a space
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	page := document.Read(t, root+"/README.md")
	screen := document.Session{
		Script: page.Script(t, "TestReadme", "sh"),
		Dir:    folder,
		Env: environ(t, "GOMODCACHE="+of[0], "GOCACHE="+of[1], "GOFLAGS="+of[2], "GIT_CONFIG_COUNT=2",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
			"GIT_CONFIG_KEY_1=url."+checkout+".insteadOf", "GIT_CONFIG_VALUE_1=https://github.com/Miosa-osa/miosa-env"),
		Limit: 10 * time.Minute, // includes building what is not cached
		Attr:  attr,
	}.RunOnTerminal(t,
		"(not shown): ", "an-example-value\r",
		"[y/N] ", "y\r",
		"(not shown): ", "its-next-value\r",
	)
	document.Prints(t, screen, "ghp_example_of_tomorrow\nNothing is left behind.\n")
	if strings.Contains(screen, "an-example-value") || strings.Contains(screen, "its-next-value") {
		t.Error("a value that was typed is on the screen")
	}
	want := alike(page.Block(t, "Try it", "text") + page.Block(t, "Manage secrets", "text"))
	got := alike(screen)
	if at := slices.Index(got, want[0]); at >= 0 {
		got = got[at:]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("from %q on (-README.md +screen):\n%s", want[0], diff)
	}
}

// alike removes from lines what differs between runs: ids, times, and column widths.
func alike(text string) []string {
	for _, r := range [][2]string{
		{`\r`, ""},
		{`\b(sec|bnd|key)_[a-z0-9]{26}\b`, "${1}_ID"},
		{`\b\d+ (second|minute)s? ago\b`, "AGO"},
		{`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`  +`, "  "},
		{` +(?m:$)`, ""},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return strings.Split(strings.TrimSpace(text), "\n")
}

// docs/operations.md continues in the same shell.
func TestOperationsStart(t *testing.T) {
	page := document.Read(t, root+"/docs/operations.md")
	out := inTryIt(t, page.Block(t, "Start", "sh")).Run(t)
	document.Prints(t, out, page.Block(t, "Start", "text"))
}

// The first commands of docs/troubleshooting.md report no problem on a working installation.
func TestTroubleshootingBegins(t *testing.T) {
	page := document.Read(t, root+"/docs/troubleshooting.md")
	out := inTryIt(t, page.Block(t, "Troubleshooting", "sh"), "MIOSA_SOCKET="+filepath.Join(t.TempDir(), "agent.sock")).Run(t)
	document.Prints(t, out, "ok    vault: \nGH_TOKEN\n")
	if strings.Contains(out, "\nfail ") {
		t.Error("doctor finds something")
	}
}
