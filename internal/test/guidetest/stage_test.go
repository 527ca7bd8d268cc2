package guidetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

// root is the repository, from this package's folder, where tests run.
const root = "../../.."

// head is how a session begins that a reader types in a checkout.
const head = "make build\nexport PATH=\"$PWD/bin:$PATH\"\n"

// folder is where build puts bin/.
var folder string

// build has make build both programs, once for all tests.
var build = sync.OnceValue(func() error {
	if out, err := exec.Command("make", "-C", root, "build", "BIN="+filepath.Join(folder, "bin")).CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
})

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

// withOutput adds to an error what the command printed, on lines of its own.
func withOutput(err error, out []byte) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, out)
}

// environ is a session's environment: of the caller's only the PATH, and folders of the test's own.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LC_ALL=C"}, more...)
}

// session is what runs a script that begins with head, in which make build has been done before.
func session(t *testing.T, script string, more ...string) document.Session {
	t.Helper()
	rest, starts := strings.CutPrefix(script, head)
	if !starts {
		t.Fatalf("the session doesn't start with\n%s", head)
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return document.Session{Script: "export PATH=\"$PWD/bin:$PATH\"\n" + rest, Dir: folder, Env: environ(t, more...)}
}

// prints looks for the lines of all text blocks of a page in what a session printed.
func prints(t *testing.T, page *document.Page, out string) {
	t.Helper()
	found := 0
	for _, b := range page.Blocks() {
		if b.Language == "text" {
			found++
			document.Prints(t, out, b.Body)
		}
	}
	if found == 0 {
		t.Errorf("%s has no text block", page.Path)
	}
}
