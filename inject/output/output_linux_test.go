package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// inMemory returns a new directory on one of the system's tmpfs.
func inMemory(t testing.TB) string {
	t.Helper()
	for _, root := range []string{"/dev/shm", os.Getenv("XDG_RUNTIME_DIR"), "/run"} {
		var st unix.Statfs_t
		if root == "" || unix.Statfs(root, &st) != nil || uint32(st.Type) != unix.TMPFS_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(root, "inject-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	needs.System(t, "a tmpfs to write to: not /dev/shm, XDG_RUNTIME_DIR or /run")
	return ""
}

// snapshot takes NAME, value, NAME, value...
func snapshot(words ...string) api.Snapshot {
	var s api.Snapshot
	for p := range slices.Chunk(words, 2) {
		s.Bound = append(s.Bound, api.Bound{Label: api.Label{ID: "bnd_" + strings.ToLower(p[0]), ExposeAsEnv: p[0]}, Value: api.NewValue([]byte(p[1]))})
	}
	return s
}

// newOutput returns an output of the given format at path.
func newOutput(t testing.TB, format, path string, changes ...func(*output.Config)) *output.Output {
	t.Helper()
	c := output.Config{Path: path, Format: format, Log: zerolog.Nop()}
	for _, change := range changes {
		change(&c)
	}
	o, err := output.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func write(t testing.TB, o *output.Output, words ...string) {
	t.Helper()
	if err := o.Write(snapshot(words...)); err != nil {
		t.Fatal(err)
	}
}

// encoded returns the text of an output with the given variables.
func encoded(t testing.TB, format string, words ...string) string {
	t.Helper()
	var out strings.Builder
	if err := envfile.Encode(&out, format, snapshot(words...).Bound); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// tree returns what a directory contains: path -> content, or "-> target" for a symlink.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			found[name] = string(content)
			return err
		case !d.IsDir():
			found[name] = d.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func holds(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("%s (-got +want):\n%s", dir, diff)
	}
}

func intact(t testing.TB, o *output.Output, want bool) {
	t.Helper()
	if got, err := o.Check(); err != nil || got != want {
		t.Errorf("intact: %v %v, want %v", got, err, want)
	}
}

// stat is Lstat without the access time.
func stat(t testing.TB, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	st.Atim = unix.Timespec{}
	return st
}

func TestOutputFormats(t *testing.T) {
	for format, want := range map[string]string{
		"systemd": "APP_A=\"it's\"\nAPP_B=\"\\$x\"\n",
		"shell":   "export APP_A='it'\\''s'\nexport APP_B='$x'\n",
		"docker":  "APP_A=it's\nAPP_B=$x\n",
		"dotenv":  "APP_A=\"it's\"\nAPP_B='$x'\n",
		"json":    "{\n  \"APP_A\": \"it's\",\n  \"APP_B\": \"$x\"\n}\n",
	} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, format, dir+"/out", func(c *output.Config) { c.Only, c.Prefix = []string{"?"}, "APP_" })
			write(t, o, "B", "$x", "LONG", "left out", "A", "it's")
			holds(t, dir, map[string]string{"out": want})
			if st := stat(t, dir+"/out"); st.Mode != unix.S_IFREG|0o600 {
				t.Errorf("mode %o", st.Mode)
			}
			write(t, o)
			if left := tree(t, dir)["out"]; left != "" && left != "{}\n" {
				t.Errorf("what isn't bound any more is still there: %q", left)
			}
		})
	}
}

// TestOutputUnchanged checks that a set that is already in place is not written again, not even by another Output.
func TestOutputUnchanged(t *testing.T) {
	for _, format := range output.Formats {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, format, dir+"/out")
			intact(t, o, false)
			write(t, o, "A", "1", "B", "2")
			before := stat(t, dir+"/out")
			intact(t, o, true)
			write(t, o, "B", "2", "A", "1")
			other := newOutput(t, format, dir+"/out")
			intact(t, other, false)
			write(t, other, "A", "1", "B", "2")
			intact(t, other, true)
			intact(t, o, true)
			if after := stat(t, dir+"/out"); after != before {
				t.Errorf("touched: %+v, was %+v", after, before)
			}
			write(t, other, "A", "1", "B", "3")
			intact(t, o, false)
			write(t, o, "A", "1", "B", "3")
			intact(t, o, true)
		})
	}
}

// TestOutputRewritten checks that changes made by others are detected, and undone by the next Write of the same set.
func TestOutputRewritten(t *testing.T) {
	for _, tt := range []struct {
		name string
		does func(path string) error
		root bool
	}{
		{"deleted", os.Remove, false},
		{"cut", func(path string) error { return os.Truncate(path, 0) }, false},
		{"opened to all", func(path string) error { return os.Chmod(path, 0o644) }, false},
		{"given away", func(path string) error { return os.Chown(path, 65534, -1) }, true},
		{"a hard link to it", func(path string) error { return os.Link(path, path+".copy") }, false},
		{"replaced", func(path string) error {
			return errors.Join(os.WriteFile(path+".copy", []byte("A='2'\n"), 0o600), os.Rename(path+".copy", path))
		}, false},
		{"edited, with its times set back", func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(path, []byte("A=2\n"), 0o600), os.Chtimes(path, info.ModTime(), info.ModTime()))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needs.Root(t, "to give files to another user")
			}
			dir := inMemory(t)
			o := newOutput(t, "docker", dir+"/out")
			write(t, o, "A", "1")
			intact(t, o, true)
			tick(t, dir+"/out")
			if err := tt.does(dir + "/out"); err != nil {
				t.Fatal(err)
			}
			intact(t, o, false)
			write(t, o, "A", "1")
			intact(t, o, true)
			os.Remove(dir + "/out.copy")
			holds(t, dir, map[string]string{"out": "A=1\n"})
			if st := stat(t, dir+"/out"); st.Mode != unix.S_IFREG|0o600 || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// tick waits until a file that changes gets a later change time than path has: some kernels advance it in steps.
func tick(t *testing.T, path string) {
	t.Helper()
	then := stat(t, path).Ctim
	probe := path + ".tick"
	defer func() { _ = os.Remove(probe) }()
	poll.Until(t, 10*time.Second, "the next tick", func() bool {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		now := stat(t, probe).Ctim
		return now.Nano() > then.Nano()
	})
}

func TestOutputModeAndOwners(t *testing.T) {
	needs.Root(t, "to give files to another user")
	for _, format := range []string{"docker", "files"} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, format, dir+"/out", func(c *output.Config) { c.Mode, c.Owner, c.Group = 0o440, "65534", "12345" })
			write(t, o, "A", "1")
			file := dir + "/out"
			if format == "files" {
				if st := stat(t, file); st.Mode != unix.S_IFDIR|0o755 || st.Uid != 0 || st.Gid != 12345 {
					t.Errorf("directory: mode %o, owners %d %d", st.Mode, st.Uid, st.Gid)
				}
				var err error
				if file, err = filepath.EvalSymlinks(dir + "/out/A"); err != nil {
					t.Fatal(err)
				}
			}
			if st := stat(t, file); st.Mode != unix.S_IFREG|0o440 || st.Uid != 65534 || st.Gid != 12345 {
				t.Errorf("mode %o, owners %d %d", st.Mode, st.Uid, st.Gid)
			}
			intact(t, o, true)
			again := newOutput(t, format, dir+"/out", func(c *output.Config) { c.Mode, c.Owner, c.Group = 0o440, "65534", "12345" })
			before := stat(t, file)
			write(t, again, "A", "1")
			if stat(t, file) != before {
				t.Error("written again")
			}
			write(t, newOutput(t, format, dir+"/out"), "A", "1")
			if st := stat(t, dir+"/out"); format == "docker" && (st.Mode != unix.S_IFREG|0o600 || st.Uid != 0) {
				t.Errorf("with another configuration: mode %o, owner %d", st.Mode, st.Uid)
			} else if format == "files" && st.Mode != unix.S_IFDIR|0o700 {
				t.Errorf("directory with another configuration: mode %o", st.Mode)
			}
		})
	}
}

// TestOutputRefused checks that the output keeps its content if a set cannot be written.
func TestOutputRefused(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		words        []string
		want         string
	}{
		{"several lines for docker", "docker", []string{"A", "canary\nX=1", "B", "2"}, "A can't be written as docker: its value has several lines"},
		{"a name that runs code", "files", []string{"LD_PRELOAD", "canary"}, `binding bnd_ld_preload: LD_PRELOAD is refused: it can make programs run other code (allow_names = ["LD_PRELOAD"] lets it through)`},
		{"a name of ours", "shell", []string{"MIOSA_API_KEY", "canary"}, `binding bnd_miosa_api_key: MIOSA_API_KEY is refused: it belongs to miosa-env or the service manager`},
		{"a function", "systemd", []string{"A", "() { canary; }"}, `binding bnd_a: A is refused: its value starts with "() ", which some shells run (allow_names = ["A"] lets it through)`},
		{"NUL", "files", []string{"A", "canary\x00"}, "binding bnd_a: A can't be set: its value holds a NUL byte"},
		{"no name", "files", []string{"../../etc/passwd", "canary"}, "binding bnd_../../etc/passwd: ../../etc/passwd isn't a name: want letters, digits and _, no digit first"},
		{"twice", "json", []string{"A", "canary", "A", "canary"}, "binding bnd_a: A is set by binding bnd_a too"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, tt.format, dir+"/out")
			write(t, o, "A", "1")
			before := tree(t, dir)
			err := o.Write(snapshot(tt.words...))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			holds(t, dir, before)
			intact(t, o, true)
		})
	}
	o := newOutput(t, "docker", inMemory(t)+"/out", func(c *output.Config) { c.AllowNames = []string{"PATH"} })
	write(t, o, "PATH", "/allowed")
}

func TestOutputRemove(t *testing.T) {
	for _, format := range []string{"docker", "files"} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, format, dir+"/out")
			if err := o.Remove(); err != nil {
				t.Errorf("nothing there: %v", err)
			}
			write(t, o, "A", "1")
			for _, o := range []*output.Output{o, o, newOutput(t, format, dir+"/out")} {
				if err := o.Remove(); err != nil {
					t.Fatal(err)
				}
				holds(t, dir, map[string]string{})
				intact(t, o, false)
			}
			write(t, o, "A", "1")
			intact(t, o, true)
			if err := newOutput(t, format, dir+"/out").Remove(); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, map[string]string{})
			if err := newOutput(t, format, dir+"/gone/out").Remove(); err != nil {
				t.Errorf("no directory: %v", err)
			}
		})
	}
}

// TestOutputLeftovers checks that the first Write, and Remove, delete the temporary files of killed processes and
// nothing else.
func TestOutputLeftovers(t *testing.T) {
	stay := map[string]string{".out.miosa-": "x", ".out.miosa-abcdefghi": "x", ".other.miosa-abcdefgh": "x", "out.miosa-abcdefgh": "x"}
	for name, act := range map[string]func(*output.Output) error{
		"write":  func(o *output.Output) error { return o.Write(snapshot()) },
		"remove": (*output.Output).Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, "docker", dir+"/out")
			for name, content := range stay {
				os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)
			}
			os.WriteFile(dir+"/.out.miosa-abcdefgh", []byte("canary"), 0o600)
			os.WriteFile(dir+"/.out.miosa-22222222", nil, 0o400)
			if err := act(o); err != nil {
				t.Fatal(err)
			}
			os.Remove(dir + "/out")
			holds(t, dir, stay)
		})
	}
	t.Run("of somebody else, where everybody may write", func(t *testing.T) {
		needs.Root(t, "to give files to another user")
		dir := inMemory(t)
		os.Chmod(dir, 0o777|os.ModeSticky)
		os.WriteFile(dir+"/.out.miosa-abcdefgh", nil, 0o600)
		os.Chown(dir+"/.out.miosa-abcdefgh", 65534, -1)
		os.Mkdir(dir+"/.out.miosa-bbbbbbbb", 0o700)
		write(t, newOutput(t, "docker", dir+"/out"), "A", "1")
		holds(t, dir, map[string]string{"out": "A=1\n", ".out.miosa-abcdefgh": ""})
	})
}

// TestOutputReaders checks that a reader during a write gets either the old or the new set, complete.
func TestOutputReaders(t *testing.T) {
	dir := inMemory(t)
	o := newOutput(t, "docker", dir+"/out")
	sets := []string{strings.Repeat("a", 20_000), strings.Repeat("b", 30_000)}
	write(t, o, "A", sets[0], "B", sets[0])
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				text, err := os.ReadFile(dir + "/out")
				if err != nil || string(text) != "A="+sets[0]+"\nB="+sets[0]+"\n" && string(text) != "A="+sets[1]+"\nB="+sets[1]+"\n" {
					t.Errorf("read %d bytes, %v", len(text), err)
					return
				}
			}
		})
	}
	for i := range 1000 {
		write(t, o, "A", sets[i%2], "B", sets[i%2])
	}
	close(stop)
	readers.Wait()
}

// TestOutputLog checks that the log contains the names in a set but no values, at any level.
func TestOutputLog(t *testing.T) {
	var log bytes.Buffer
	dir := inMemory(t)
	o := newOutput(t, "docker", dir+"/out", func(c *output.Config) {
		c.Log, c.Only = zerolog.New(&log), []string{"HOME", "NONE*"}
	})
	write(t, o, "HOME", "canary")
	want := []string{
		`{"level":"warn","output":"OUT","kind":"only","name":"NONE*","message":"output may not be as intended"}`,
		`{"level":"warn","output":"OUT","kind":"name","name":"HOME","message":"output may not be as intended"}`,
		`{"level":"info","changes":{"added":[{"name":"HOME"}]},"output":"OUT","bindings":1,"message":"output written"}`,
	}
	got := strings.Split(strings.TrimSpace(strings.ReplaceAll(log.String(), dir+"/out", "OUT")), "\n")
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// BenchmarkOutputWrite measures a change of one value, and a Write that changes nothing.
func BenchmarkOutputWrite(b *testing.B) {
	words := make([][]string, 2)
	for i := range words {
		for n := range 100 {
			words[i] = append(words[i], fmt.Sprintf("NAME_%03d", n), strings.Repeat("v", 40)+fmt.Sprint(n))
		}
		words[i][1] = fmt.Sprint("changed ", i)
	}
	sets := []api.Snapshot{snapshot(words[0]...), snapshot(words[1]...)}
	for _, format := range output.Formats {
		b.Run(format+"/changed", func(b *testing.B) {
			o := newOutput(b, format, inMemory(b)+"/out")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := o.Write(sets[i%2]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(format+"/unchanged", func(b *testing.B) {
			o := newOutput(b, format, inMemory(b)+"/out")
			b.ReportAllocs()
			for b.Loop() {
				if err := o.Write(sets[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
