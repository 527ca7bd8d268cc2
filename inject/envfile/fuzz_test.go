package envfile_test

import (
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// FuzzDotenvRoundTrip checks that godotenv reads exactly the variables that were written, and that a reader that goes
// line by line finds the same names.
func FuzzDotenvRoundTrip(f *testing.F) {
	for _, value := range nasty {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p := pairs("A", "before $X", "B", value, "C", "it's behind")
		var out strings.Builder
		err := envfile.Encode(&out, "dotenv", p)
		var cant *envfile.CantCarry
		if errors.As(err, &cant) && cant.Name == "B" && out.Len() == 0 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := godotenv.Unmarshal(out.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, wantOf(p)); diff != "" {
			t.Errorf("%q (-got +want):\n%s", out.String(), diff)
		}
		if want := slices.Sorted(maps.Keys(wantOf(p))); !slices.Equal(namesByLine(out.String()), want) {
			t.Errorf("%q: line by line it sets %q, want %q", out.String(), namesByLine(out.String()), want)
		}
	})
}

// FuzzShellRoundTrip checks that a real shell that sources the text has exactly the written variables in its
// environment.
func FuzzShellRoundTrip(f *testing.F) {
	sh := needs.OneCommand(f, "sh")
	for i := range nasty {
		if i%8 == 0 { // TestShellReadBack has all of them
			f.Add([]byte(nasty[i]))
		}
	}
	f.Add([]byte("\xff'\xfe"))
	f.Fuzz(func(t *testing.T, value []byte) {
		p := pairs("A", "it's before", "B", string(value), "C", "'behind'")
		var out strings.Builder
		if err := envfile.Encode(&out, "shell", p); err != nil {
			if slices.Contains(value, 0) {
				return
			}
			t.Fatal(err)
		}
		if len(value) > 100_000 { // more than execve takes in one variable
			return
		}
		c := exec.Command(sh, "-s")
		c.Env = []string{"PATH=/usr/bin:/bin"}
		c.Stdin = strings.NewReader(out.String() + "exec env -0\n")
		text, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(environOfText(string(text)), wantOf(p)); diff != "" {
			t.Errorf("%q (-got +want):\n%s", out.String(), diff)
		}
	})
}

// FuzzDotenvInShell checks that a shell that sources a dotenv file sets only its names, reads the simple values right,
// and runs no command: there is none in PATH, so each would print an error.
func FuzzDotenvInShell(f *testing.F) {
	sh := needs.OneCommand(f, "sh")
	for i := range nasty {
		if i%8 == 1 {
			f.Add(nasty[i])
		}
	}
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) > 50_000 {
			return
		}
		p := pairs("A", "it's before", "B", value, "C", "'behind'")
		var out strings.Builder
		if envfile.Encode(&out, "dotenv", p) != nil {
			return
		}
		c := exec.Command(sh, "-s")
		c.Env = []string{"PATH=/nonexistent"}
		c.Stdin = strings.NewReader("set -a\n" + out.String() + "exec /usr/bin/env -0\n")
		var stderr strings.Builder
		c.Stderr = &stderr
		text, err := c.Output()
		if err != nil || stderr.Len() != 0 {
			t.Fatalf("%q: %v %s", out.String(), err, stderr.String())
		}
		got := environOfText(string(text))
		if diff := cmp.Diff(slices.Sorted(maps.Keys(got)), []string{"A", "B", "C"}); diff != "" {
			t.Errorf("%q (-got +want):\n%s", out.String(), diff)
		}
		if got["A"] != "it's before" || got["C"] != "'behind'" {
			t.Errorf("%q: got %q", out.String(), got)
		}
	})
}
