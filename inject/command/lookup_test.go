package command_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/command"
)

func TestLookup(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for name, mode := range map[string]os.FileMode{
		"a/tool": 0o755, "b/tool": 0o755, "a/plain": 0o644, "b/plain": 0o755, "a/onlyplain": 0o644,
		"here": 0o755, "tool2": 0o755, "a/dir/x": 0o644, "b/dir": 0o755, "a/dironly/x": 0o644,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo("a/pipe", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", "a/loop"); err != nil {
		t.Fatal(err)
	}
	path := func(dirs ...string) []string { return []string{"X=1", "PATH=" + strings.Join(dirs, ":")} }
	abs := func(name string) string { return filepath.Join(root, name) }
	t.Setenv("PATH", abs("a")) // of this process
	for _, tt := range []struct {
		name    string
		command string
		env     []string
		want    string
		code    int
		message string
		hint    string
	}{
		{"first directory", "tool", path(abs("a"), abs("b")), abs("a/tool"), 0, "", ""},
		{"second directory", "tool", path("/nonexistent", abs("here"), abs("b")), abs("b/tool"), 0, "", ""},
		{"a slash at a directory's end", "tool", path(abs("a") + "/"), abs("a/tool"), 0, "", ""},
		{"a file that can't be executed is skipped", "plain", path(abs("a"), abs("b")), abs("b/plain"), 0, "", ""},
		{"a directory is skipped", "dir", path(abs("a"), abs("b")), abs("b/dir"), 0, "", ""},
		{"relative directory", "tool", path("b"), "b/tool", 0, "", ""},
		{"the root as a directory", "no-such-command", path("/"), "", command.ExitNotFound, "no-such-command: command not found", "install it, or give its path"},
		{"empty element first", "here", path("", "/bin"), "./here", 0, "", ""},
		{"empty element in the middle", "here", path("/nonexistent", "", "/nonexistent"), "./here", 0, "", ""},
		{"empty element last", "here", path("/nonexistent", ""), "./here", 0, "", ""},
		{"empty PATH", "here", []string{"PATH="}, "./here", 0, "", ""},
		{"the PATH in env, not this process's", "tool", path(abs("b")), abs("b/tool"), 0, "", ""},
		{"this process's PATH if env has none", "tool", []string{"XPATH=/", "A=PATH=/"}, abs("a/tool"), 0, "", ""},
		{"a path", "./here", path("/bin"), "./here", 0, "", ""},
		{"a path below", "a/tool", path(), "a/tool", 0, "", ""},
		{"an absolute path", abs("a/tool"), path(), abs("a/tool"), 0, "", ""},

		{"not found", "nope", path(abs("a"), abs("b")), "", command.ExitNotFound, "nope: command not found", "install it, or give its path"},
		{"here, but . isn't in PATH", "here", path(abs("a")), "", command.ExitNotFound, "here: command not found", "for the one in this directory, give ./here"},
		{"a whole line", "tool --flag", path(abs("a")), "", command.ExitNotFound, `"tool --flag": command not found`, "give the command and its arguments as words of their own, or as: sh -c '...'"},
		{"empty", "", path(abs("a")), "", command.ExitNotFound, `"": command not found`, "the command is an empty word"},
		{"NUL", "to\x00ol", path(abs("a")), "", command.ExitNotFound, `"to\x00ol": command not found`, "install it, or give its path"},
		{"a very long name", strings.Repeat("x", 5000), path(abs("a")), "", command.ExitNotFound, strings.Repeat("x", 80) + "...: command not found", "install it, or give its path"},
		{"loop", "loop", path(abs("a")), "", command.ExitNotFound, "loop: command not found", "install it, or give its path"},
		{"path not found", "./nope", path(), "", command.ExitNotFound, "./nope: command not found", "no such file; a relative path starts at the working directory"},
		{"a PATH element that isn't a directory", "tool", path(abs("here"), abs("a/loop"), abs("b")), abs("b/tool"), 0, "", ""},
		{"only PATH elements that aren't directories", "tool", path(abs("here"), abs("a/loop")), "", command.ExitNotFound, "tool: command not found", "install it, or give its path"},

		{"path through a file", "here/x", path(), "", command.ExitNotExecutable, "here/x: command can't be executed: not a directory", ""},
		{"a loop, by path", "a/loop", path(), "", command.ExitNotExecutable, "a/loop: command can't be executed: too many levels of symbolic links", ""},
		{"a very long name, by path", "./" + strings.Repeat("x", 300), path(), "", command.ExitNotExecutable,
			"./" + strings.Repeat("x", 78) + "...: command can't be executed: file name too long", ""},

		{"not executable, found by PATH", "onlyplain", path(abs("a"), abs("b")), "", command.ExitNotExecutable,
			"onlyplain: command can't be executed: " + abs("a/onlyplain") + " isn't marked executable", "chmod +x " + abs("a/onlyplain")},
		{"not executable, by path", "a/plain", path(), "", command.ExitNotExecutable, "a/plain: command can't be executed: a/plain isn't marked executable", "chmod +x a/plain"},
		{"a directory", "dironly", path(abs("a")), "", command.ExitNotExecutable, "dironly: command can't be executed: " + abs("a/dironly") + " is a directory", "give a file in it"},
		{"a directory, by path", "./a", path(), "", command.ExitNotExecutable, "./a: command can't be executed: ./a is a directory", "give a file in it"},
		{"a pipe", "a/pipe", path(), "", command.ExitNotExecutable, "a/pipe: command can't be executed: a/pipe isn't a regular file", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := command.Lookup(tt.command, tt.env)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e interface {
				error
				Hint() string
				ExitCode() int
			}
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff([]string{e.Error(), e.Hint()}, []string{tt.message, tt.hint}); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if e.ExitCode() != tt.code {
				t.Errorf("exit code: got %d, want %d", e.ExitCode(), tt.code)
			}
		})
	}
}

// TestLookupWithoutAnyPath checks that if no PATH is set anywhere, Lookup searches the directories that execvp would.
func TestLookupWithoutAnyPath(t *testing.T) {
	t.Setenv("PATH", "")
	if err := os.Unsetenv("PATH"); err != nil {
		t.Fatal(err)
	}
	got, err := command.Lookup("sh", nil)
	if err != nil || got != "/bin/sh" && got != "/usr/bin/sh" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestLookupAgreesWithExecve checks that Lookup accepts a file exactly if the kernel executes it.
func TestLookupAgreesWithExecve(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"all": 0o755, "owner": 0o700, "group": 0o010, "others": 0o001, "none": 0o666} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\nexit 0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := command.Lookup(file, nil)
		p, kernel := os.StartProcess(file, []string{file}, &os.ProcAttr{})
		if kernel == nil {
			_, _ = p.Wait()
		}
		if (err == nil) != (kernel == nil) {
			t.Errorf("%s: Lookup says %v, execve %v", name, err, kernel)
		}
	}
}
