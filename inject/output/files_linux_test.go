package output_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/output"
)

var generationName = regexp.MustCompile(`^\.\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.miosa-[a-z2-7]{8}$`)

// inForce returns the name of the directory that ..data points to.
func inForce(t testing.TB, dir string) string {
	t.Helper()
	name, err := os.Readlink(dir + "/..data")
	if err != nil || !generationName.MatchString(name) {
		t.Fatalf("..data leads to %q: %v", name, err)
	}
	return name
}

func TestOutputFiles(t *testing.T) {
	dir := inMemory(t)
	o := newOutput(t, "files", dir+"/out")
	write(t, o, "A", "1", "EMPTY", "", "PEM", "a\nb\n", "BYTES", "\xff\r")
	first := inForce(t, dir+"/out")
	holds(t, dir+"/out", map[string]string{
		"..data": "-> " + first, first + "/A": "1", first + "/EMPTY": "", first + "/PEM": "a\nb\n", first + "/BYTES": "\xff\r",
		"A": "-> ..data/A", "EMPTY": "-> ..data/EMPTY", "PEM": "-> ..data/PEM", "BYTES": "-> ..data/BYTES",
	})
	for path, mode := range map[string]uint32{"out": unix.S_IFDIR | 0o700, "out/" + first: unix.S_IFDIR | 0o700, "out/" + first + "/A": unix.S_IFREG | 0o600} {
		if st := stat(t, dir+"/"+path); st.Mode != mode {
			t.Errorf("%s: mode %o, want %o", path, st.Mode, mode)
		}
	}
	// One file changes, two are removed, one is added; foreign files stay.
	if err := errors.Join(os.WriteFile(dir+"/out/README", []byte("theirs"), 0o600), os.Symlink("A", dir+"/out/LINK")); err != nil {
		t.Fatal(err)
	}
	intact(t, o, true)
	write(t, o, "A", "2", "PEM", "a\nb\n", "NEW", "n")
	second := inForce(t, dir+"/out")
	if first == second {
		t.Error("the file was changed in place")
	}
	holds(t, dir+"/out", map[string]string{
		"..data": "-> " + second, second + "/A": "2", second + "/PEM": "a\nb\n", second + "/NEW": "n",
		"A": "-> ..data/A", "PEM": "-> ..data/PEM", "NEW": "-> ..data/NEW", "README": "theirs", "LINK": "-> A",
	})
	if err := o.Remove(); err != nil {
		t.Fatal(err)
	}
	holds(t, dir+"/out", map[string]string{"README": "theirs", "LINK": "-> A"})
}

// TestOutputFilesRewritten is TestOutputRewritten for a directory.
func TestOutputFilesRewritten(t *testing.T) {
	for _, tt := range []struct {
		name string
		does func(out, generation string) error
	}{
		{"all of it", func(out, _ string) error { return os.RemoveAll(out) }},
		{"a name", func(out, _ string) error { return os.Remove(out + "/A") }},
		{"a name, edited through", func(out, _ string) error { return os.WriteFile(out+"/A", []byte("9"), 0o600) }},
		{"a file", func(out, generation string) error { return os.Remove(filepath.Join(out, generation, "A")) }},
		{"a file more", func(out, generation string) error {
			return os.WriteFile(filepath.Join(out, generation, "X"), nil, 0o600)
		}},
		{"the set", func(out, generation string) error { return os.RemoveAll(filepath.Join(out, generation)) }},
		{"the link", func(out, _ string) error { return os.Remove(out + "/..data") }},
		{"the mode", func(out, _ string) error { return os.Chmod(out, 0o755) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := inMemory(t)
			o := newOutput(t, "files", dir+"/out")
			write(t, o, "A", "1", "B", "2")
			intact(t, o, true)
			if err := tt.does(dir+"/out", inForce(t, dir+"/out")); err != nil {
				t.Fatal(err)
			}
			intact(t, o, false)
			write(t, o, "A", "1", "B", "2")
			intact(t, o, true)
			now := inForce(t, dir+"/out")
			holds(t, dir+"/out", map[string]string{"..data": "-> " + now, now + "/A": "1", now + "/B": "2", "A": "-> ..data/A", "B": "-> ..data/B"})
			if st := stat(t, dir+"/out"); st.Mode != unix.S_IFDIR|0o700 {
				t.Errorf("mode %o", st.Mode)
			}
		})
	}
}

func TestOutputFilesLeftovers(t *testing.T) {
	dir := inMemory(t)
	write(t, newOutput(t, "files", dir+"/out"), "A", "1")
	now := inForce(t, dir+"/out")
	old := dir + "/out/..2026-01-02T15-04-05.miosa-abcdefgh"
	theirs := dir + "/out/..2026_01_02_15_04_05.1234567"
	if err := errors.Join(os.Mkdir(old, 0o700), os.WriteFile(old+"/A", []byte("canary"), 0o600), os.Symlink(filepath.Base(old), dir+"/out/..data.miosa-abcdefgh"), os.Mkdir(theirs, 0o700), os.WriteFile(theirs+"/A", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	write(t, newOutput(t, "files", dir+"/out"), "A", "1")
	holds(t, dir+"/out", map[string]string{"..data": "-> " + now, now + "/A": "1", "A": "-> ..data/A", filepath.Base(theirs) + "/A": ""})
}

// TestOutputFilesReaders checks that a reader that resolves ..data once gets all values from one set, and that a name
// in all sets always leads to a value. If a change comes between two steps of a reader, its set may be gone; it finds
// the next one when it retries, as with Kubernetes.
func TestOutputFilesReaders(t *testing.T) {
	dir := inMemory(t)
	o := newOutput(t, "files", dir+"/out")
	sets := []string{strings.Repeat("a", 5_000), strings.Repeat("b", 9_000)}
	words := func(i int) []string { return []string{"A", sets[i%2], "B", sets[i%2], "C", sets[i%2]} }
	write(t, o, words(0)...)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	read := func(once func() error) {
		readers.Go(func() {
			good, overtaken := 0, 0
			for {
				select {
				case <-stop:
					if good == 0 {
						t.Errorf("no set read, %d sets replaced while reading", overtaken)
					}
					return
				default:
				}
				switch err := once(); {
				case err == nil:
					good++
				case errors.Is(err, os.ErrNotExist):
					overtaken++
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	read(func() error {
		root, err := os.OpenRoot(dir + "/out/..data")
		if err != nil {
			return err
		}
		defer root.Close()
		var first string
		for _, name := range []string{"A", "B", "C"} {
			text, err := root.ReadFile(name)
			if err != nil {
				return err
			}
			if first == "" {
				first = string(text)
			}
			if string(text) != first || first != sets[0] && first != sets[1] {
				return errors.New("values of two sets, or half of one")
			}
		}
		return nil
	})
	read(func() error {
		text, err := os.ReadFile(dir + "/out/B")
		if err == nil && string(text) != sets[0] && string(text) != sets[1] {
			return errors.New("half a value")
		}
		return err
	})
	for i := range 500 {
		write(t, o, words(i+1)...)
	}
	close(stop)
	readers.Wait()
}

// TestOutputFilesOfManyNames removes and adds all names of a set at once.
func TestOutputFilesOfManyNames(t *testing.T) {
	dir := inMemory(t)
	o := newOutput(t, "files", dir+"/out", func(c *output.Config) { c.Prefix = "P_" })
	var words []string
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		words = append(words, string(c), strings.ToLower(string(c)))
	}
	write(t, o, words...)
	if got := len(tree(t, dir+"/out")); got != 1+26+26 {
		t.Errorf("%d paths", got)
	}
	write(t, o)
	holds(t, dir+"/out", map[string]string{"..data": "-> " + inForce(t, dir+"/out")})
	write(t, o, words...)
	if got := len(tree(t, dir+"/out")); got != 1+26+26 {
		t.Errorf("%d paths", got)
	}
}
