// Package needs skips tests on machines that lack a requirement, and knows the package that provides it. The test runner
// (internal/testrun) parses the reasons and lists them in one table.
//
//	needs.Command(t, "zsh")
//	needs.Root(t, "to give files to another user")
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Need is a requirement of a skipped test.
type Need struct {
	// Kind is command, npm, root, system (a feature of the kernel, the file system or the network), or option (of go test).
	Kind string
	What string // the command, npm package or option
	Why  string // more about it; may be empty
}

func skip(t testing.TB, n Need) {
	t.Helper()
	t.Skip(n.reason())
}

// reason returns "needs KIND[ WHAT][: WHY]".
func (n Need) reason() string {
	s := "needs " + n.Kind
	if n.What != "" {
		s += " " + n.What
	}
	if n.Why != "" {
		s += ": " + n.Why
	}
	return s
}

// logged matches a reason in the output of go test, after the position in the source.
var logged = regexp.MustCompile(`(?m)^\s*(?:\S+\.go:\d+: )?needs (command|npm|root|system|option)( [^\s:]+)?(?:: (.*))?$`)

// Find parses the reason in the output of a skipped test.
func Find(output string) (n Need, ok bool) {
	m := logged.FindStringSubmatch(output)
	if m == nil {
		return Need{}, false
	}
	return Need{Kind: m[1], What: strings.TrimSpace(m[2]), Why: m[3]}, true
}

// Command skips the test unless all commands are in PATH, or exist at their absolute paths.
func Command(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, Need{Kind: "command", What: name})
		}
	}
}

// File skips the test unless all commands and files exist: absolute paths are of files, of Debian packages without commands too.
func File(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Stat(name); !filepath.IsAbs(name) {
			Command(t, name)
		} else if err != nil {
			skip(t, Need{Kind: "command", What: name})
		}
	}
}

// OneCommand returns the path of the first command that exists, and skips the test if none does.
func OneCommand(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skip(t, Need{Kind: "command", What: names[0]})
	return ""
}

// Root skips the test unless it runs as root. why completes "needs root:".
func Root(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, Need{Kind: "root", Why: why})
	}
}

// Granted skips the test if err is the system's refusal of what, such as a mount. Without root, root is the requirement.
func Granted(t testing.TB, err error, what string) {
	t.Helper()
	if err != nil {
		Root(t, fmt.Sprintf("for %s: %v", what, err))
		System(t, "%s: %v", what, err)
	}
}

// System skips the test because this machine lacks what the message says.
func System(t testing.TB, format string, args ...any) {
	t.Helper()
	skip(t, Need{Kind: "system", Why: fmt.Sprintf(format, args...)})
}

// NPM returns the folder of an npm package, or its file in npm, from its variable, and skips the test if that isn't set. The
// test runner sets the variables of packages that are installed in NPMFolder.
func NPM(t testing.TB, name string) string {
	t.Helper()
	for _, p := range npm {
		if path := os.Getenv(p.variable); p.name == name && path != "" {
			return path
		}
	}
	skip(t, Need{Kind: "npm", What: name})
	return ""
}

// NewerNode skips the test because the node in PATH is too old. npm has a newer one.
func NewerNode(t testing.TB, why string) {
	t.Helper()
	skip(t, Need{Kind: "npm", What: "node", Why: why})
}

// WhatItNeeded skips the test if output is that of a skipped test.
func WhatItNeeded(t testing.TB, output []byte) {
	t.Helper()
	if n, ok := Find(string(output)); ok && strings.Contains(string(output), "--- SKIP: ") {
		skip(t, n)
	}
}

// Long skips a test that takes long under -short.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		skip(t, Need{Kind: "option", What: "-short=false", Why: why})
	}
}

// Number returns the number in an environment variable, which makes a test do more or less than usual.
func Number(t testing.TB, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// Option skips a test that an option of go test enables.
func Option(t testing.TB, on bool, option, why string) {
	t.Helper()
	if !on {
		skip(t, Need{Kind: "option", What: option, Why: why})
	}
}
