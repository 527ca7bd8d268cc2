package revocation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	past   = time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	now    = past.Add(time.Hour)
	future = past.Add(2 * time.Hour)
)

func open(t *testing.T, path string) *List {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(t *testing.T, l *List, id string, end time.Time) {
	t.Helper()
	if err := l.Add(map[string]time.Time{id: end}); err != nil {
		t.Fatal(err)
	}
}

// Two processes with one file: each has the other's keys after Refresh.
func TestList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	a, b := open(t, path), open(t, path)
	add(t, a, "key_a", past)
	add(t, b, "key_b", past)
	add(t, b, "key_later", future)
	if !a.Refuses("key_a", now) || a.Refuses("key_b", now) {
		t.Error("a list has what its process added, until it is refreshed")
	}
	for _, l := range []*List{a, b, open(t, path)} {
		if err := l.Refresh(); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]bool{"key_a": true, "key_b": true, "key_later": false, "key_c": false, "": false} {
			if got := l.Refuses(id, now); got != want {
				t.Errorf("refuses %q: %v, want %v", id, got, want)
			}
		}
		if !l.Refuses("key_later", future) {
			t.Error("a key is accepted after its time")
		}
		if refused := l.Refused(now); len(refused) != 2 || !refused["key_a"].Equal(past) {
			t.Errorf("refused: %v", refused)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestListedTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	l := open(t, path)
	add(t, l, "key_a", future)
	add(t, l, "key_a", past) // earlier counts
	add(t, l, "key_a", now)
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("the file has %q, %v", text, err)
	}
	if !open(t, path).Refused(now)["key_a"].Equal(past) {
		t.Error("the earliest time doesn't count")
	}
}

// A line that a crash has cut off spoils neither itself nor the next one. A file that was emptied takes nothing back.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	if err := os.WriteFile(path, []byte("\nkey_a 2030-01-02T03:04:05Z\nkey_cut 2030-0"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	add(t, l, "key_b", past)
	for _, l := range []*List{l, open(t, path)} {
		for _, id := range []string{"key_a", "key_cut", "key_b"} {
			if !l.Refuses(id, time.Now().AddDate(100, 0, 0)) {
				t.Errorf("%s isn't refused", id)
			}
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Refresh(); err != nil || !l.Refuses("key_b", now) {
		t.Errorf("after the file was emptied: %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir() // a folder can't be read as a file
	if _, err := Open(dir); err == nil {
		t.Error("a list that can't be read is no error")
	}
	l := open(t, filepath.Join(dir, "none", "revocations"))
	if err := l.Add(map[string]time.Time{"key_a": past}); err == nil || l.Refuses("key_a", now) {
		t.Errorf("not written, but listed: %v", err)
	}
}
