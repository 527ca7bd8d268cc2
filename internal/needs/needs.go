// Package needs skips tests on machines without what they need, in one form of words, and knows which package
// has it. The test runner (internal/testrun) reads the reasons and lists them in one table.
//
//	needs.Command(t, "zsh")
//	needs.Root(t, "to give files to another user")
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The kinds of what a test needs.
const (
	KindCommand = "command" // What is its name
	KindNPM     = "npm"     // What is the package's name
	KindRoot    = "root"
	KindSystem  = "system" // something of the kernel, the file system or the network
	KindOption  = "option" // What is an option of go test, such as -update
)

// Need is what a skipped test needs.
type Need struct {
	Kind string
	What string // one of several of the kind; may be empty
	Why  string // more about it; may be empty
}

// String is the reason as a skipped test gives it: "needs KIND[ WHAT][: WHY]".
func (n Need) String() string {
	s := "needs " + n.Kind
	if n.What != "" {
		s += " " + n.What
	}
	if n.Why != "" {
		s += ": " + n.Why
	}
	return s
}

// logged is a reason as go test prints it, behind the place in the source.
var logged = regexp.MustCompile(`(?m)^\s*(?:\S+\.go:\d+: )?needs (command|npm|root|system|option)( [^\s:]+)?(?:: (.*))?$`)

// Find reads the reason from the output of a skipped test.
func Find(output string) (n Need, ok bool) {
	m := logged.FindStringSubmatch(output)
	if m == nil {
		return Need{}, false
	}
	return Need{Kind: m[1], What: strings.TrimSpace(m[2]), Why: m[3]}, true
}

func skip(t testing.TB, n Need) {
	t.Helper()
	t.Skip(n)
}

// Command skips the test unless all commands are on the PATH, or at their absolute paths.
func Command(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, Need{Kind: KindCommand, What: name})
		}
	}
}

// OneCommand returns the path of the first of several commands that is there, and skips the test where none is.
func OneCommand(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skip(t, Need{Kind: KindCommand, What: names[0]})
	return ""
}

// Root skips the test unless it runs as root. why completes "needs root:".
func Root(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, Need{Kind: KindRoot, Why: why})
	}
}

// Granted skips the test if err says that the system refused what, such as a mount. An ordinary user is told
// to be root.
func Granted(t testing.TB, err error, what string) {
	t.Helper()
	switch {
	case err == nil:
	case os.Geteuid() != 0:
		skip(t, Need{Kind: KindRoot, Why: fmt.Sprintf("for %s: %v", what, err)})
	default:
		skip(t, Need{Kind: KindSystem, Why: fmt.Sprintf("%s: %v", what, err)})
	}
}

// System skips the test: this machine lacks what the message says.
func System(t testing.TB, format string, args ...any) {
	t.Helper()
	skip(t, Need{Kind: KindSystem, Why: fmt.Sprintf(format, args...)})
}

// NPM returns the folder of an npm package, or the file that is wanted of it, from its variable, and skips the
// test where that isn't set. The test runner sets the variables of packages that are installed in NPMFolder.
func NPM(t testing.TB, name string) string {
	t.Helper()
	path := os.Getenv(npmVariable(name))
	if path == "" {
		skip(t, Need{Kind: KindNPM, What: name})
	}
	return path
}

// NewerNode skips the test: the node on the PATH is too old for what why says. npm has a newer one.
func NewerNode(t testing.TB, why string) {
	t.Helper()
	skip(t, Need{Kind: KindNPM, What: "node", Why: why})
}

// WhatItNeeded skips the test if the output is that of a test run on its own which was skipped.
func WhatItNeeded(t testing.TB, output []byte) {
	t.Helper()
	if n, ok := Find(string(output)); ok && strings.Contains(string(output), "--- SKIP: ") {
		skip(t, n)
	}
}

// Long skips a test that takes why of real time under -short.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		skip(t, Need{Kind: KindOption, What: "-short=false", Why: why})
	}
}

// Option skips a test that only an option of go test asks for.
func Option(t testing.TB, on bool, option, why string) {
	t.Helper()
	if !on {
		skip(t, Need{Kind: KindOption, What: option, Why: why})
	}
}
