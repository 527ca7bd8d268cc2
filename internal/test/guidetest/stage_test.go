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

// root is the repository, relative to this package's folder.
const root = "../../.."

// head is the beginning of a session in a checkout.
const head = "make build\nexport PATH=\"$PWD/bin:$PATH\"\n"

// folder is where build creates bin/.
var folder string

// build runs make build for both programs, once for all tests.
var build = sync.OnceValue(func() error {
	if out, err := exec.Command("make", "-C", root, "build", "BIN="+filepath.Join(folder, "bin")).CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
})

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

// withOutput appends the command's output to an error.
func withOutput(err error, out []byte) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, out)
}

// environ returns a session's environment: the caller's PATH, and the test's own folders.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LC_ALL=C"}, more...)
}

// session returns a session for a script that begins with head, whose make build is already done.
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

// prints checks that a session printed the lines of all text blocks of a page.
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
