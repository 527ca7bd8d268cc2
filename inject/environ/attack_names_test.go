package environ_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// Variables that make real programs run code, which each of them does here, are refused, and so is each under a prefix.
func TestAttack_NamesThatRunCode(t *testing.T) {
	for _, tt := range []struct {
		program string
		name    string
		value   func(t *testing.T, dir, script string) string
		args    []string
	}{
		{"tar", "TAR_OPTIONS", func(_ *testing.T, _, script string) string {
			return "--checkpoint=1 --checkpoint-action=exec=" + script
		}, []string{"-cf", "a.tar", "script"}},
		{"git", "GIT_DIR", func(t *testing.T, dir, script string) string {
			for _, args := range [][]string{{"init", "-q", dir + "/repository"}, {"-C", dir + "/repository", "config", "core.fsmonitor", script}} {
				if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			return dir + "/repository/.git"
		}, []string{"status"}},
		{"git", "GIT_EXEC_PATH", func(t *testing.T, dir, script string) string {
			return link(t, script, dir+"/bin/git-hello")
		}, []string{"hello"}},
		{"git", "GIT_CONFIG_PARAMETERS", func(_ *testing.T, _, script string) string {
			return "'alias.hello'='!" + script + "'"
		}, []string{"hello"}},
		{"make", "CC", func(_ *testing.T, _, script string) string { return script }, []string{"program"}},
		{"make", "MAKEFILES", func(t *testing.T, dir, script string) string {
			write(t, dir+"/evil.mk", "$(shell "+script+")\n")
			return dir + "/evil.mk"
		}, []string{"-n", "program"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			script, ran := dir+"/script", dir+"/ran"
			write(t, script, "#!/bin/sh\n: > "+ran+"\n")
			write(t, dir+"/program.c", "int main(void) { return 0; }\n")
			value := ""
			check := func() {
				t.Helper()
				for _, e := range []environ.Environment{{Bound: bind(tt.name, value)}, {Bound: bind(tt.name[2:], value), Prefix: tt.name[:2]}} {
					var refused *environ.Refused
					if _, err := e.Build(); !errors.As(err, &refused) {
						t.Errorf("%s with prefix %q: %v", tt.name, e.Prefix, err)
					}
				}
			}
			if len(tt.name) > 2 {
				check()
			}
			needs.Command(t, tt.program)
			value = tt.value(t, dir, script)
			c := exec.Command(tt.program, tt.args...)
			c.Dir = dir
			c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, tt.name + "=" + value}
			out, _ := c.CombinedOutput() // what it says doesn't matter
			if _, err := os.Stat(ran); err != nil {
				t.Errorf("%s didn't run the code in %s:\n%s", tt.program, tt.name, out)
			}
			if _, err := (environ.Environment{Bound: bind(tt.name, value)}).Build(); err == nil {
				t.Errorf("%s isn't refused", tt.name)
			}
		})
	}
}

// write writes an executable file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// link creates a symlink in a new directory, which it returns.
func link(t *testing.T, target, path string) string {
	t.Helper()
	dir := filepath.Dir(path)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// With a list of the names that are expected, a binding of any other name is refused, under its final name. Patterns accept no name
// that the guard refuses.
func TestRequireOnly(t *testing.T) {
	const unlisted = " is refused: --require-only doesn't list it (--require-only "
	for _, tt := range []struct {
		name string
		env  environ.Environment
		want string // empty: no error
	}{
		{"listed", environ.Environment{Bound: bind("A", "1", "APP_B", "2"), RequireOnly: []string{"A", "APP_*"}}, ""},
		{"unlisted", environ.Environment{Bound: bind("A", "1", "NEW_TOOL_HOOK", "2"), RequireOnly: []string{"A"}},
			"binding bnd_NEW_TOOL_HOOK: NEW_TOOL_HOOK" + unlisted + "NEW_TOOL_HOOK lets it through)"},
		{"by final name", environ.Environment{Bound: bind("B", "1"), Prefix: "APP_", RequireOnly: []string{"B"}},
			"binding bnd_B: APP_B" + unlisted + "APP_B lets it through)"},
		{"case matters", environ.Environment{Bound: bind("a", "1"), RequireOnly: []string{"A"}}, "binding bnd_a: a" + unlisted + "a lets it through)"},
		{"a pattern accepts no refused name", environ.Environment{Bound: bind("LD_PRELOAD", "1"), RequireOnly: []string{"*"}},
			"binding bnd_LD_PRELOAD: LD_PRELOAD is refused: it can make programs run other code (--allow-name LD_PRELOAD lets it through)"},
		{"nor does its name alone", environ.Environment{Bound: bind("LD_PRELOAD", "1"), RequireOnly: []string{"LD_PRELOAD"}},
			"binding bnd_LD_PRELOAD: LD_PRELOAD is refused: it can make programs run other code (--allow-name LD_PRELOAD lets it through)"},
		{"allowing a name doesn't list it", environ.Environment{Bound: bind("LD_PRELOAD", "1"), RequireOnly: []string{"A"}, AllowNames: []string{"LD_PRELOAD"}},
			"binding bnd_LD_PRELOAD: LD_PRELOAD" + unlisted + "LD_PRELOAD lets it through)"},
		{"both", environ.Environment{Bound: bind("LD_PRELOAD", "1"), RequireOnly: []string{"LD_PRELOAD"}, AllowNames: []string{"LD_PRELOAD"}}, ""},
		{"what isn't selected doesn't matter", environ.Environment{Bound: bind("A", "1", "B", "2"), Only: []string{"A"}, RequireOnly: []string{"A"}}, ""},
		{"inherited variables aren't checked", environ.Environment{Inherited: []string{"B=1"}, Bound: bind("A", "1"), RequireOnly: []string{"A"}}, ""},
		{"not a pattern", environ.Environment{RequireOnly: []string{"[A"}}, "--require-only [A: not a pattern"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.env.Build()
			if got := text(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if _, _, err = tt.env.Bindings(); text(err) != tt.want {
				t.Errorf("Bindings: got %q, want %q", text(err), tt.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
