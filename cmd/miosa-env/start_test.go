package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

var initialized = regexp.MustCompile(`(?m)^init (github\.com/Miosa-osa/\S+) .* (\d+) bytes`)

// A start makes no table that its command may not need: every package of this module allocates little before main.
func TestInitializers(t *testing.T) {
	const most = 512 // bytes
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-env"), "--version")
	cmd.Env = environ(map[string]string{"GODEBUG": "inittrace=1"})
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packages := initialized.FindAllSubmatch(out, -1)
	if len(packages) == 0 {
		t.Fatalf("no package of this module\n%s", out)
	}
	for _, p := range packages {
		if n, err := strconv.Atoi(string(p[2])); err != nil || n > most {
			t.Errorf("%s allocates %s bytes, at most %d wanted", p[1], p[2], most)
		}
	}
}
