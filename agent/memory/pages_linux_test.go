package memory

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"golang.org/x/sys/unix"
)

// withoutSecretMemory simulates a kernel without memfd_secret for the length of a test.
func withoutSecretMemory(t *testing.T) {
	t.Helper()
	was := noSecretMemory.Swap(true)
	t.Cleanup(func() { noSecretMemory.Store(was) })
}

// vmFlags returns the kernel's flags of the mapping that contains the start of b.
func vmFlags(t *testing.T, b []byte) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at, within := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), false
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			within = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && within {
			return strings.Fields(flags)
		}
	}
	t.Fatal("the memory isn't mapped")
	return nil
}

// wants checks that memory has the properties of its kind.
func wants(t *testing.T, kind string, b []byte) {
	t.Helper()
	promised := map[string][]string{
		secret:   {"lo", "dd", "dc"}, // locked; not in dumps; not in a forked child
		locked:   {"lo", "dd", "wf"}, // locked; not in dumps; zero in a forked child
		unlocked: {"dd", "wf"},
	}[kind]
	flags := vmFlags(t, b)
	for _, f := range promised {
		if !slices.Contains(flags, f) {
			t.Errorf("%s memory has the flags %v, and not %q", kind, flags, f)
		}
	}
	if kind == unlocked && slices.Contains(flags, "lo") {
		t.Errorf("locked memory has the kind %s", kind)
	}
}

// holds checks that a set can be kept in the memory, read, and is zeroed before that is freed.
func holds(t *testing.T, kind string) {
	t.Helper()
	r := New(3 * os.Getpagesize())
	if r.kind != kind {
		t.Fatalf("%s memory, want %s", r.kind, kind)
	}
	wants(t, kind, r.bytes)
	if !bytes.Equal(r.bytes, make([]byte, len(r.bytes))) {
		t.Error("the memory is not zeroed")
	}
	r.free()
	var m Sets
	kept := m.Keep(api.Snapshot{Bound: []api.Bound{{Value: api.NewValue([]byte("canary"))}}})
	if m.kind != kind || kept.Bound[0].Value.Reveal() != "canary" {
		t.Errorf("a set is kept in %s memory, want %s", m.kind, kind)
	}
	m.Wipe(m.Last())
	if kept.Bound[0].Value.Len() != 0 {
		t.Error("a value is readable after it was wiped")
	}
}

func TestMemorySecret(t *testing.T) {
	b, kind := allocate(64)
	release(b, kind)
	if kind != secret {
		needs.System(t, "memfd_secret, which isn't here: %s memory instead", kind)
	}
	holds(t, secret)
}

// Without memfd_secret values are in locked memory, which isn't in dumps or forked children.
func TestMemoryLocked(t *testing.T) {
	withoutSecretMemory(t)
	b, kind := allocate(64)
	release(b, kind)
	if kind != locked {
		needs.System(t, "memory to lock: RLIMIT_MEMLOCK is used up, or 0: %s memory instead", kind)
	}
	holds(t, locked)
}

// memoryVariable makes this test binary a process that may lock no memory.
const memoryVariable = "MIOSA_TEST_MEMORY"

// A process that may not lock memory still keeps values out of dumps, and reports that they aren't locked. It uses
// memfd_secret once it may lock.
func TestMemoryUnlocked(t *testing.T) {
	if os.Getenv(memoryVariable) == "" {
		c := exec.Command("/proc/self/exe", "-test.run=^TestMemoryUnlocked$", "-test.v")
		c.Env = append(os.Environ(), memoryVariable+"=yes")
		out, err := c.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestMemoryUnlocked")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	runtime.LockOSThread() // never unlocked, because capabilities belong to the thread
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var rights [2]unix.CapUserData
	if err := unix.Capget(&header, &rights[0]); err != nil {
		t.Fatal(err)
	}
	rights[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	if err := unix.Capset(&header, &rights[0]); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &none); err != nil {
		t.Fatal(err)
	}
	holds(t, unlocked)
	was := noSecretMemory.Swap(true)
	holds(t, unlocked)
	noSecretMemory.Store(was)

	if limit.Cur < 1<<20 {
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	want := secret
	if was {
		want = locked
	}
	holds(t, want)
}
