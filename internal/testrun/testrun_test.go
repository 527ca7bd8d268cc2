package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// asProgram makes the test binary the program itself.
const asProgram = "TESTRUN_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// moduleOf makes a module of the given files, and gives the program that is to run its tests.
func moduleOf(t *testing.T, files map[string]string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module " + module + "x\n\ngo 1.26\n"
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Dir, c.Env = dir, append(os.Environ(), asProgram+"=1", "GOFLAGS=")
	return c
}

// untimed replaces durations.
func untimed(s string) string {
	return regexp.MustCompile(`\d+\.\d+s`).ReplaceAllString(s, "Ns")
}

func TestReport(t *testing.T) {
	c := moduleOf(t, map[string]string{
		"a/a_test.go": `package a

import "testing"

func TestPasses(t *testing.T) { t.Log("not shown") }

func TestFails(t *testing.T) {
	t.Run("case", func(t *testing.T) { t.Error("what is wrong") })
}

func TestShells(t *testing.T) {
	for _, shell := range []string{"one", "two"} {
		t.Run(shell, func(t *testing.T) { t.Skip("needs command zsh") })
	}
}

func TestMounts(t *testing.T) { t.Skip("needs root: for a mount: operation not permitted\nmore\n  needs command never") }
func TestNode(t *testing.T)   { t.Skip("needs npm dotenv") }
func TestOdd(t *testing.T)    { t.Skip("some other reason") }
`,
		"b/b_test.go": "package b\n\nfunc broken( {\n",
		"c/c.go":      "package c\n",
		"d/d_test.go": "package d\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestEndsAll(t *testing.T) { t.Log(\"last words\"); os.Exit(3) }\n",
	}, "-count=1", "-p=1", "./a", "./c", "./d", "./b")
	out, err := c.Output()
	if c.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	got := untimed(string(out))
	got = regexp.MustCompile(`(?s)# github\S+.*?\n(b/b_test[^\n]*\n)`).ReplaceAllString(got, "BUILD ERRORS\n")
	for _, want := range []string{
		"=== FAIL: x/a TestFails/case (Ns)\n",
		"a_test.go:8: what is wrong\n",
		"=== RUNNING: x/d TestEndsAll\n",
		"FAIL  x/a (Ns)\n",
		"\n=== Failed\n", "\nFAIL: x/a TestFails/case\nFAIL: x/a TestFails\nFAIL: x/d\n",
		`
=== Skipped
NEEDS       PACKAGE  TEST                         REASON
zsh         x/a      TestShells (2 of its cases)
npm dotenv  x/a      TestNode
other       x/a      TestOdd                      some other reason
root        x/a      TestMounts                   for a mount: operation not permitted
`,
		"apt-get install ", " zsh",
		"npm install --prefix bin/npm dotenv@",
		"as root",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it doesn't print\n%s", want)
		}
	}
	for _, unwanted := range []string{"not shown", "x/c"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("it prints %q", unwanted)
		}
	}
	if closing := "\nDONE 10 tests, 5 skipped, 2 failures, 2 errors in Ns\n"; !strings.HasSuffix(got, closing) {
		t.Errorf("it doesn't end with %q", closing)
	}
	if t.Failed() {
		t.Logf("it printed:\n%s", got)
	}
}

func TestAllPass(t *testing.T) {
	out, err := moduleOf(t, map[string]string{"a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n"}, "-count=1", "./...").Output()
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
	if diff := cmp.Diff(untimed(string(out)), "ok    x (Ns)\n\nDONE 1 test in Ns\n"); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// A signal ends the tests and what they have started; what was skipped until then is listed.
func TestInterrupted(t *testing.T) {
	c := moduleOf(t, map[string]string{"a_test.go": `package a

import (
	"os"
	"os/exec"
	"testing"
)

func TestA(t *testing.T) { t.Skip("needs command mksh") }

func TestB(t *testing.T) {
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("waits", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Wait()
}
`}, "-count=1", "./...")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, io.Discard
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 2*time.Minute, "the test starts", func() bool {
		_, err := os.Stat(filepath.Join(c.Dir, "waits"))
		return err == nil
	})
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	got := untimed(out.String())
	if !strings.Contains(got, "mksh   x        TestA") || !strings.Contains(got, "\nINTERRUPTED 2 tests, 1 skipped") {
		t.Errorf("it printed:\n%s", got)
	}
}
