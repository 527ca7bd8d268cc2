package memoryimage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Image is what root can read of a process: its mappings, or a core.
type Image struct {
	Found  map[string][]string // marks found, by mapping
	Size   int
	Closed []string // unreadable mappings

	Numbers []string // of the values in plaintext
}

// Of reads a process's memory in overlapping pieces.
func Of(t testing.TB, pid int, m Marks) Image {
	t.Helper()
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	const piece, overlap = 4 << 20, 4 << 10
	i := Image{Found: map[string][]string{}}
	buffer := make([]byte, piece)
	for line := range strings.Lines(string(maps)) {
		line = strings.TrimSpace(line)
		if fields := strings.Fields(line); !strings.HasPrefix(fields[1], "r") || strings.Contains(line, "[vsyscall]") {
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		for at := from; at < to; at += piece - overlap {
			n, err := mem.ReadAt(buffer[:min(piece, to-at)], at)
			i.Size += n
			if found := m.Find(buffer[:n]); found != nil {
				i.Found[line] = append(i.Found[line], found...)
				i.Numbers = append(i.Numbers, m.Numbers(buffer[:n])...)
			}
			if err != nil {
				i.Closed = append(i.Closed, line)
				break
			}
		}
	}
	slices.Sort(i.Numbers)
	i.Numbers = slices.Compact(i.Numbers)
	return i
}

// CoreOf creates a core of a running process and returns it; false if that is impossible.
func CoreOf(t testing.TB, pid int) ([]byte, bool) {
	t.Helper()
	gcore, err := exec.LookPath("gcore")
	if err != nil {
		t.Log("SKIPPED in part: no gcore here to make a core with (install gdb)")
		return nil, false
	}
	core := filepath.Join(t.TempDir(), "core")
	if out, err := exec.CommandContext(t.Context(), gcore, "-a", "-o", core, strconv.Itoa(pid)).CombinedOutput(); err != nil {
		t.Logf("SKIPPED in part: no core can be made: %v\n%s", err, out)
		return nil, false
	}
	text, err := os.ReadFile(core + "." + strconv.Itoa(pid))
	if err != nil {
		t.Fatal(err)
	}
	return text, true
}
