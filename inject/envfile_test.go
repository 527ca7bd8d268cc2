package inject_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject"
)

// What is documented to be read from env files, quirks included.
func TestEnvFileForms(t *testing.T) {
	t.Setenv("OUTSIDE", "never read")
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"comments and blank lines", "\n# a comment\n\n  # another\nA=1\n", []string{"A=1"}},
		{"comment behind a value", "A=1 # one\nB=1#2\n", []string{"A=1", "B=1#2"}},
		{"spaces around", "  A =  x y \n", []string{"A=x y"}},
		{"export", "export A=1\n", []string{"A=1"}},
		{"colon", "A: 1\n", []string{"A=1"}},
		{"no line end", "A=1", []string{"A=1"}},
		{"CRLF", "A=1\r\nB='x\r\ny'\r\n", []string{"A=1", "B=x\ny"}},
		{"byte order mark", "\xef\xbb\xbfA=1\n", []string{"A=1"}},
		{"numbers stay text", "A=007\nB=+5\n", []string{"A=007", "B=+5"}},
		{"single quotes", `A='x $B \n "q"'`, []string{`A=x $B \n "q"`}},
		{"single quotes over lines", "A='x\nB=2\ny'\n", []string{"A=x\nB=2\ny"}},
		{"double quotes", `A="x\ny\"z\\w"`, []string{"A=x\ny\"z\\w"}},
		{"expansion of what stands before", "A=1\nB=$A-${A}\nC=\"$A\"\nD='$A'\n", []string{"A=1", "B=1-1", "C=1", "D=$A"}},
		{"nothing from the environment", "A=x${OUTSIDE}y\n", []string{"A=xy"}},
		{"an escaped dollar", `A=\$B`, []string{"A=$B"}},
		{"last of one name", "A=1\nA=2\n", []string{"A=2"}},
		{"dots in names", "a.b=1\n", []string{"a.b=1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built, err := inject.Environment{Files: []string{envFile(t, tt.text)}}.Build()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(built.Environ, tt.want) {
				t.Errorf("(-got +want):\n%s", cmp.Diff(built.Environ, tt.want))
			}
		})
	}
}

func TestEnvFileErrors(t *testing.T) {
	dir := t.TempDir()
	long := envFile(t, "A="+strings.Repeat("x", 8<<20))
	for _, tt := range []struct {
		name, path, text string
		want             string // behind the path
		errno            syscall.Errno
	}{
		{"not there", filepath.Join(dir, "none.env"), "", ": no such file or directory", syscall.ENOENT},
		{"a directory", dir, "", ": is a directory", syscall.EISDIR},
		{"too long", long, "", ": longer than 8 MiB", 0},
		{"not an assignment", "", "A=1\n\nthis is canary!\nB=2\n", " line 3: not in the form NAME=value", 0},
		{"a dash in a name", "", "# c\r\nA=1\r\nCANARY-B=2\r\n", " line 3: not in the form NAME=value", 0},
		{"no name at the end", "", "A=1\ncanary", ": a line without NAME=", 0},
		{"empty name", "", "=canary\n", ": a line without NAME=", 0},
		{"a space in a name", "", "A CANARY=1\n", ": a name with white space in it", 0},
		{"open single quote", "", "A=1\nB='canary\nC=2\n", " line 2: a quote that isn't closed", 0},
		{"open double quote", "", "A=\"x\"\n\nB=\"canary\nC=\\\"canary\n", " line 3: a quote that isn't closed", 0},
		{"the same line twice", "", "A='\nB=\"canary\n'\nB=\"canary\n", " line 4: a quote that isn't closed", 0},
		{"NUL", "", "A=1\nB=can\x00ary\n", " line 2: a NUL byte", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if path == "" {
				path = envFile(t, tt.text)
			}
			_, err := inject.Environment{Files: []string{path}}.Build()
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(err.Error(), "env file "+path+tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			var file *inject.FileError
			if !errors.As(err, &file) || file.Path != path {
				t.Errorf("not a *FileError for %s: %#v", path, err)
			}
			if tt.errno != 0 && !errors.Is(err, tt.errno) {
				t.Errorf("doesn't wrap %v", tt.errno)
			}
			if strings.Contains(strings.ToLower(strings.ReplaceAll(err.Error(), path, "")), "canary") {
				t.Error("the error repeats the file's content")
			}
		})
	}
}

// FuzzEnvFile: whatever a file holds, Build gives an environment that execve takes as it is, or an
// error that says nothing of the content.
func FuzzEnvFile(f *testing.F) {
	for _, seed := range []string{"A=1\n", "export ", "A='x", "A=\"\\", "A", "=", "A==", "\xef\xbb\xbf", "é=1", "A=$", "A=${", "A=\\", "a b", "#", "A:\r\n", "A='\n'B=2", "\xff=\xfe"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "fuzz.env")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		built, err := inject.Environment{Files: []string{path}}.Build()
		if err != nil {
			var file *inject.FileError
			if !errors.As(err, &file) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error: %q", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, entry := range built.Environ {
			name, _, ok := strings.Cut(entry, "=")
			if !ok || name == "" || seen[name] || strings.ContainsRune(entry, 0) {
				t.Fatalf("entry %q", entry)
			}
			seen[name] = true
		}
	})
}
