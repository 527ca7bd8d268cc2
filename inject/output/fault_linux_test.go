package output_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// faultSets returns the two sets that playOutput writes in turn. They differ in size, and each has a name that the
// other lacks.
func faultSets() [2][]string {
	var sets [2][]string
	for i := range sets {
		for n := range 8 {
			sets[i] = append(sets[i], fmt.Sprintf("NAME_%d", n), strings.Repeat(string(rune('a'+i)), (i+1)*3_000))
		}
		sets[i] = append(sets[i], fmt.Sprintf("ONLY_%d", i), "x")
	}
	return sets
}

// writesOutput is the variable that makes the test binary run playOutput.
const writesOutput = "OUTPUT_TEST_WRITE"

func TestMain(m *testing.M) {
	if os.Getenv(writesOutput) != "" {
		os.Exit(playOutput(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// playOutput writes an output, prints one byte, and once it has read one, writes the output in a loop.
func playOutput(args []string) int {
	o, err := output.New(output.Config{Format: args[0], Path: args[1], Log: zerolog.Nop()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	sets := faultSets()
	start := rand.IntN(2)
	for i := start; ; i++ {
		if err := o.Write(snapshot(sets[i%2]...)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if i == start {
			os.Stdout.WriteString("r")
			if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
				return 0
			}
		}
	}
}

// TestFault_A1_KilledWhileWriting kills processes at random moments, 1,000 times while they write a file and 300 times
// while they write a directory. After each kill the output must be one of the two sets, complete and with mode 0600,
// and the next process must remove everything else.
func TestFault_A1_KilledWhileWriting(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for format, kills := range map[string]int{"systemd": 1000, "files": 300} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				kills /= 20
			}
			dir := inMemory(t)
			path := filepath.Join(dir, "out")
			leftovers := 0
			var met [2]int
			for range kills {
				c := exec.Command(self, format, path)
				c.Env = append(os.Environ(), writesOutput+"=1")
				c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				c.Stderr = os.Stderr
				in, err := c.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				out, err := c.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
					t.Fatalf("the process wrote no output: %v", err)
				}
				if left := beside(t, dir, format); len(left) != 0 {
					t.Fatalf("left after a restart: %q", left)
				}
				in.Write([]byte("g"))
				<-time.After(rand.N(4 * time.Millisecond))
				c.Process.Kill()
				c.Wait()
				met[oneOf(t, dir, format)]++
				leftovers += len(beside(t, dir, format))
			}
			t.Logf("%d kills, %d and %d times with either set, %d files and directories left for the next start", kills, met[0], met[1], leftovers)
			if err := newOutput(t, format, path).Remove(); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, map[string]string{})
		})
	}
}

// oneOf checks that an output holds one of faultSets, and returns its index.
func oneOf(t *testing.T, dir, format string) int {
	t.Helper()
	sets := faultSets()
	if format == "systemd" {
		text, err := os.ReadFile(dir + "/out")
		if err != nil {
			t.Fatal(err)
		}
		if st := stat(t, dir+"/out"); st.Mode != unix.S_IFREG|0o600 {
			t.Fatalf("mode %o", st.Mode)
		}
		for i, set := range sets {
			if string(text) == encoded(t, format, set...) {
				return i
			}
		}
		t.Fatalf("neither set: %d bytes", len(text))
	}
	got := map[string]string{}
	for name, content := range tree(t, dir+"/out") {
		link, _ := os.Readlink(dir + "/out/..data")
		if of, ok := strings.CutPrefix(name, link+"/"); ok {
			got[of] = content
			if st := stat(t, dir+"/out/"+name); st.Mode != unix.S_IFREG|0o600 {
				t.Fatalf("mode %o", st.Mode)
			}
		}
	}
	for i, set := range sets {
		want := map[string]string{}
		for p := range slices.Chunk(set, 2) {
			want[p[0]] = p[1]
		}
		if cmp.Equal(got, want) {
			// A name that is in both sets always leads to a value.
			if text, err := os.ReadFile(dir + "/out/NAME_3"); err != nil || string(text) != set[1] {
				t.Fatalf("value read by its name: %d bytes, %v", len(text), err)
			}
			return i
		}
	}
	t.Fatalf("neither set: %d files", len(got))
	return -1
}

// beside lists the temporary files and directories next to the output.
func beside(t *testing.T, dir, format string) []string {
	t.Helper()
	var left []string
	if format == "files" {
		dir += "/out"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	link, _ := os.Readlink(dir + "/..data")
	for _, e := range entries {
		if name := e.Name(); strings.Contains(name, ".miosa-") && name != link {
			left = append(left, name)
		}
	}
	return left
}

// smallTmpfs mounts a tmpfs of size bytes that is visible to this test only.
func smallTmpfs(t *testing.T, size int) string {
	t.Helper()
	needs.Root(t, "for a tmpfs of a size of its own")
	dir := inMemory(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	needs.Granted(t, unix.Unshare(unix.CLONE_NEWNS), "a mount namespace")
	needs.Granted(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), "private mounts")
	needs.Granted(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)), "a tmpfs of a size of its own")
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestFault_A2_TmpfsFull checks that on a full file system the old content stays, nothing of the new content is left,
// and the error gives the cause, and that the write succeeds once there is room.
func TestFault_A2_TmpfsFull(t *testing.T) {
	for _, format := range []string{"systemd", "files"} {
		t.Run(format, func(t *testing.T) {
			dir := smallTmpfs(t, 256<<10)
			o := newOutput(t, format, dir+"/out")
			write(t, o, "A", "old", "B", "old")
			before := tree(t, dir)
			if err := os.WriteFile(dir+"/ballast", make([]byte, 180<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			before["ballast"] = string(make([]byte, 180<<10))
			large := []string{"A", strings.Repeat("n", 60_000), "B", strings.Repeat("n", 60_000)}
			for range 50 {
				err := o.Write(snapshot(large...))
				if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "its file system is full") || !strings.Contains(err.Error(), "the old content stays") {
					t.Fatalf("got %v", err)
				}
			}
			holds(t, dir, before)
			intact(t, o, true)
			if err := os.Remove(dir + "/ballast"); err != nil {
				t.Fatal(err)
			}
			write(t, o, large...)
			intact(t, o, true)
		})
	}
	t.Run("of inodes", func(t *testing.T) {
		dir := smallTmpfs(t, 256<<10)
		needs.Granted(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "nr_inodes=2"), "a tmpfs with a limit of inodes")
		if err := os.WriteFile(dir+"/out", []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := newOutput(t, "docker", dir+"/out").Write(snapshot("A", "1"))
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("got %v", err)
		}
		holds(t, dir, map[string]string{"out": "old"})
	})
}
