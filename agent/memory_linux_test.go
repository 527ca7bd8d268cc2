package agent_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// memoryImage calls see with everything that root can read of a process's memory, in pieces that overlap,
// and returns how many bytes that was and which mappings can't be read.
func memoryImage(t *testing.T, pid int, see func(where string, b []byte)) (total int, closed []string) {
	t.Helper()
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	must(t, err)
	mem, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
	must(t, err)
	defer func() { _ = mem.Close() }()
	const piece, overlap = 4 << 20, 4 << 10
	buffer := make([]byte, piece)
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); !strings.HasPrefix(fields[1], "r") || strings.Contains(line, "[vsyscall]") {
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		for at := from; at < to; at += piece - overlap {
			n, err := mem.ReadAt(buffer[:min(piece, to-at)], at)
			see(strings.TrimSpace(line), buffer[:n])
			total += n
			if err != nil {
				closed = append(closed, strings.TrimSpace(line))
				break
			}
		}
	}
	return total, closed
}

// forms are the ways in which a value might lie around.
func forms(value string) [][]byte {
	wide := make([]byte, 0, 2*len(value))
	for i := range len(value) {
		wide = append(wide, value[i], 0)
	}
	out := [][]byte{[]byte(value), []byte(hex.EncodeToString([]byte(value))), wide}
	for shift := range 3 { // base64 at each alignment, its edges cut
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		out = append(out, []byte(text[4:len(text)-4]))
	}
	return out
}

// The memory of a running agent, which fetches, caches, writes an output and has seen rotations, holds no
// value that anybody could read, root included; nor does a core file of it.
func TestMemoryImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root may read another process's memory")
	}
	if raced {
		t.Skip("SKIPPED: under the race detector there is no end to a process's memory")
	}
	v := vaulttest.Start(t)
	// Each value has a part that stands nowhere else, long enough that it can't be there by chance.
	canaries := []string{}
	canary := func(n int) string {
		value := fmt.Sprintf("canary-%d-%s", n, rand.Text())
		canaries = append(canaries, value)
		return value
	}
	secret := v.Put(t, "first", canary(0), sandbox, "AAA")
	for i := 1; i < 20; i++ {
		v.Put(t, fmt.Sprint("secret ", i), strings.Repeat(canary(i), 1+i*i), sandbox, fmt.Sprint("NAME_", i))
	}
	dir := t.TempDir()
	p := spawn(t, agentVariable, agentProcess{
		BaseURL: v.BaseURL, KeyFile: keyFile(t, v.ResourceKey(t, sandbox)),
		Cache: filepath.Join(dir, "set"), Output: filepath.Join(dir, "out"), Log: filepath.Join(dir, "log"),
	}, nil)
	last := canaries[0]
	p.await(t, time.Minute, "the first set", serves(last))
	for i := range 10 {
		last = canary(100 + i)
		v.Rotate(t, secret, last)
		p.await(t, time.Minute, "a rotation", serves(last))
	}
	until(t, time.Minute, "the output is written", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "out"))
		return bytes.Contains(text, []byte(last))
	})
	until(t, time.Minute, "the cache is saved", func() bool {
		_, err := os.Stat(filepath.Join(dir, "set"))
		return err == nil
	})

	look := func(where string, b []byte) {
		for _, value := range canaries {
			for i, form := range forms(value) {
				if bytes.Contains(b, form) {
					t.Errorf("%.9s..., form %d, is in %s", value, i, where)
				}
			}
		}
	}
	saw := false
	total, closed := memoryImage(t, p.Process.Pid, func(where string, b []byte) {
		look(where, b)
		saw = saw || bytes.Contains(b, []byte(agentVariable+"=")) // the control: what is surely there is found
	})
	if !saw || total < 1<<20 {
		t.Errorf("the image is blind: %d bytes", total)
	}
	secretmem := 0
	for _, line := range closed {
		if strings.Contains(line, "secretmem") {
			secretmem++
		} else if !strings.Contains(line, "[v") { // vvar, vsyscall
			t.Logf("can't be read: %s", line)
		}
	}
	if secretmem == 0 {
		t.Error("no mapping is closed to root: does this kernel have memfd_secret?")
	}
	t.Logf("%d KiB seen, %d mappings of secret memory", total>>10, secretmem)

	for _, name := range []string{"log", "set"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		look("the file "+name, text)
	}
	gcore, err := exec.LookPath("gcore")
	if err != nil {
		t.Log("SKIPPED in part: no gcore here to make a core with (install gdb)")
		return
	}
	core := filepath.Join(dir, "core")
	if out, err := exec.Command(gcore, "-a", "-o", core, strconv.Itoa(p.Process.Pid)).CombinedOutput(); err != nil {
		t.Logf("SKIPPED in part: no core can be made: %v\n%s", err, out)
		return
	}
	text, err := os.ReadFile(core + "." + strconv.Itoa(p.Process.Pid))
	must(t, err)
	if !bytes.Contains(text, []byte(agentVariable+"=")) {
		t.Error("the core is blind")
	}
	look("a core file", text)
}
