//go:build unix

package revocation

import (
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Lines that can't be written completely are cut off again: the key isn't refused later, by this process or another.
func TestAppendFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	l := open(t, path)
	add(t, l, "key_a", past)
	before := text(t, path)
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &usual); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	few := usual
	few.Cur = uint64(len(before) + 10) // bytes that fit into the file
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &few); err != nil {
		t.Fatal(err)
	}
	_, err := l.Add([]Ended{{ID: "key_b", Tenant: "ten_1", At: past}})
	if back := unix.Setrlimit(unix.RLIMIT_FSIZE, &usual); back != nil {
		t.Fatal(back)
	}
	if after := text(t, path); err == nil || after != before {
		t.Errorf("error %v; the file is\n%s\nbefore\n%s", err, after, before)
	}
	if again := open(t, path); l.Refuses("key_b", now) || again.Refuses("key_b", now) || !again.Refuses("key_a", now) {
		t.Error("another list than before")
	}
	add(t, l, "key_b", past)
	if info, err := os.Stat(path); err != nil || info.Size() <= int64(len(before)) || !open(t, path).Refuses("key_b", now) {
		t.Errorf("not added afterwards: %v", err)
	}
}
