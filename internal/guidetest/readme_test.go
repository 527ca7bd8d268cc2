package guidetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/document"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// inTryIt puts a script into the session of README.md's Try it, before its last line, which ends the vault.
func inTryIt(t *testing.T, script string, more ...string) document.Session {
	t.Helper()
	tryIt := document.Read(t, root+"/README.md").Block(t, "Try it", "sh")
	begin, ends := strings.CutSuffix(tryIt, "kill $!\n")
	if !ends {
		t.Fatal("Try it doesn't end with kill $!")
	}
	return session(t, begin+"vault=$!\n"+script+"kill $vault\n", more...)
}

func TestReadmeDemo(t *testing.T) {
	needs.Command(t, "git", "make")
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
	out := document.Session{
		Script: document.Read(t, root+"/README.md").Block(t, "See it", "sh"),
		Dir:    t.TempDir(),
		Env: environ(t, "GOMODCACHE="+of[0], "GOCACHE="+of[1], "GOFLAGS="+of[2], "GIT_CONFIG_COUNT=2",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
			"GIT_CONFIG_KEY_1=url."+checkout+".insteadOf", "GIT_CONFIG_VALUE_1=https://github.com/Miosa-osa/miosa-env"),
		Limit: 3 * time.Minute, // builds what isn't built yet
	}.Run(t)
	document.Prints(t, out, "GH_TOKEN=ghp_example_of_tomorrow\nNothing is left behind.\n")
}

func TestReadmeManages(t *testing.T) {
	manage := document.Read(t, root+"/README.md").Block(t, "Manage secrets", "sh")
	out := inTryIt(t, manage).Talk(t,
		"(not shown): ", "an-example-value\r",
		"[y/N] ", "y\r",
		"(not shown): ", "its-next-value\r",
	)
	document.Prints(t, out, "stored 1 secret for sandbox:sb_1\nsecret.rotate\n")
	if strings.Contains(out, "an-example-value") || strings.Contains(out, "its-next-value") {
		t.Error("a value that was typed is on the screen")
	}
}

// docs/operations.md goes on in the same shell.
func TestOperationsStart(t *testing.T) {
	page := document.Read(t, root+"/docs/operations.md")
	out := inTryIt(t, page.Block(t, "Start", "sh"), "MIOSA_SOCKET="+filepath.Join(t.TempDir(), "agent/agent.sock")).Run(t)
	document.Prints(t, out, page.Block(t, "Start", "text"))
}

// docs/troubleshooting.md's first commands say nothing bad where all is well.
func TestTroubleshootingBegins(t *testing.T) {
	page := document.Read(t, root+"/docs/troubleshooting.md")
	out := inTryIt(t, page.Block(t, "Troubleshooting", "sh"), "MIOSA_SOCKET="+filepath.Join(t.TempDir(), "agent.sock")).Run(t)
	document.Prints(t, out, "ok    vault: \nGH_TOKEN\n")
	if strings.Contains(out, "\nfail ") {
		t.Error("doctor finds something")
	}
}
