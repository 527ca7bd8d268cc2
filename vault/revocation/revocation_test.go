package revocation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	if _, err := l.Add([]Ended{{ID: id, Tenant: "ten_1", At: end}}); err != nil {
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
	if _, err := l.Add([]Ended{{ID: "key_a", At: past}}); err == nil || l.Refuses("key_a", now) {
		t.Errorf("not written, but listed: %v", err)
	}
}

// text is the content of a file.
func text(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What was added is undone: new keys are off the list again, and others have their earlier time.
func TestUndo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	l, other := open(t, path), open(t, path)
	add(t, l, "key_later", future)
	before := text(t, path)
	undo, err := l.Add([]Ended{{ID: "key_a", At: past}, {ID: "key_later", At: past}})
	if err != nil || !l.Refuses("key_a", now) || !l.Refuses("key_later", now) {
		t.Fatalf("not added: %v", err)
	}
	add(t, other, "key_b", past)
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*List{l, open(t, path)} {
		if l.Refuses("key_a", future) || l.Refuses("key_later", now) || !l.Refuses("key_later", future) || !l.Refuses("key_b", now) {
			t.Errorf("the file is\n%s\nbefore\n%s", text(t, path), before)
		}
	}
}

func TestParseRetention(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]Retention{
		"off": {}, "90d": {Age: 90 * day}, "5000": {Count: 5000}, "90d,5000": {90 * day, 5000}, "5000, 1w": {7 * day, 5000},
	} {
		if got, err := ParseRetention(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-1", "90d,", "90d,90d", "5,5", "on", "1.5", "90d,5,5", "5kB"} {
		if got, err := ParseRetention(s); err == nil || got != (Retention{}) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestCompact(t *testing.T) {
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	keys := []Ended{
		{"key_1", "ten_1", hour(-5)}, {"key_2", "ten_1", hour(-4)}, {"key_3", "ten_1", hour(-3)}, {"key_later", "ten_1", hour(1)},
		{"key_other", "ten_2", hour(-5)}, {"key_unknown", "", hour(-5)},
	}
	for _, tt := range []struct {
		name    string
		keep    Retention
		removed []string
	}{
		{"everything", Retention{}, nil},
		{"by age", Retention{Age: 4 * time.Hour}, []string{"key_1", "key_other", "key_unknown"}},
		{"by age of all", Retention{Age: time.Minute}, []string{"key_1", "key_2", "key_3", "key_other", "key_unknown"}},
		{"by number", Retention{Count: 1}, []string{"key_1", "key_2"}}, // of each tenant
		{"by both", Retention{4 * time.Hour, 1}, []string{"key_1", "key_2", "key_other", "key_unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "revocations")
			l, other := open(t, path), open(t, path)
			if _, err := l.Add(keys); err != nil {
				t.Fatal(err)
			}
			if n, err := other.Compact(tt.keep, now); err != nil || n != len(tt.removed) {
				t.Errorf("removed %d, %v", n, err)
			}
			if n, err := other.Compact(tt.keep, now); err != nil || n != 0 {
				t.Errorf("removed %d once more, %v", n, err)
			}
			for name, l := range map[string]*List{"compacted": other, "opened": open(t, path)} {
				for _, k := range keys {
					if got, want := l.Refuses(k.ID, hour(1)), !slices.Contains(tt.removed, k.ID); got != want {
						t.Errorf("%s: refuses %s: %v, want %v", name, k.ID, got, want)
					}
				}
			}
			// One that had read the file before keeps what it has read, until it compacts too.
			if err := l.Refresh(); err != nil || !l.Refuses("key_1", now) {
				t.Errorf("refreshed: %v", err)
			}
			if _, err := l.Compact(tt.keep, now); err != nil || l.Refuses("key_1", now) == slices.Contains(tt.removed, "key_1") {
				t.Errorf("compacted too: %v", err)
			}
			add(t, l, "key_new", past) // to the new file
			if err := other.Refresh(); err != nil || !other.Refuses("key_new", now) || !open(t, path).Refuses("key_new", now) {
				t.Errorf("added afterwards: %v", err)
			}
			if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
				t.Errorf("files: %v, %v", entries, err)
			}
		})
	}
}

// The file may be a symlink to another volume, and a process that was killed leaves a new file behind.
func TestCompactLink(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "list"), filepath.Join(folder, "revocations")
	if err := errors.Join(os.Symlink("list", link), os.WriteFile(path+".new", []byte("key_cut"), 0o600)); err != nil {
		t.Fatal(err)
	}
	l := open(t, link)
	if n, err := l.Compact(Retention{Count: 1}, now); n != 0 || err != nil {
		t.Errorf("without a file: %d, %v", n, err)
	}
	add(t, l, "key_a", past)
	add(t, l, "key_b", now)
	if n, err := l.Compact(Retention{Count: 1}, now); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if want := "key_b 2030-01-02T04:04:05.000006Z ten_1\n"; text(t, path) != want {
		t.Errorf("%q, want %q", text(t, path), want)
	}
	if at, err := os.Readlink(link); err != nil || at != "list" {
		t.Errorf("the link leads to %q, %v", at, err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the new file stays: %v", err)
	}
}

// Processes that add and processes that compact lose no line.
func TestAttack_CompactWhileAdding(t *testing.T) {
	const lists, each = 4, 50
	path := filepath.Join(t.TempDir(), "revocations")
	var running sync.WaitGroup
	for i := range lists {
		l := open(t, path)
		running.Go(func() {
			for j := range each {
				ended := []Ended{{fmt.Sprintf("key_%d_%d", i, j), "ten_1", now}, {fmt.Sprintf("old_%d_%d", i, j), "ten_1", past}}
				if _, err := l.Add(ended); err != nil {
					t.Error(err)
				}
				if j%5 == i {
					if _, err := l.Compact(Retention{Age: time.Minute}, now); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	running.Wait()
	l := open(t, path)
	if _, err := l.Compact(Retention{Age: time.Minute}, now); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Refused(now)); n != lists*each {
		t.Errorf("%d keys are listed, want %d", n, lists*each)
	}
	if n := strings.Count(text(t, path), "\n"); n != lists*each {
		t.Errorf("%d lines, want %d", n, lists*each)
	}
}

// A list of an earlier version has no tenants.
func TestListWithoutTenants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	if err := os.WriteFile(path, []byte("key_a 2030-01-02T03:04:05Z\nkey_b 2030-01-02T04:04:05Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	add(t, l, "key_c", now)
	if n, err := l.Compact(Retention{30 * time.Minute, 1}, now); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if want := "key_b 2030-01-02T04:04:05Z\nkey_c 2030-01-02T04:04:05.000006Z ten_1\n"; text(t, path) != want {
		t.Errorf("%q, want %q", text(t, path), want)
	}
}

// After a loss of power, zeros may be in the place of what was being added. The list opens, and has the keys around them.
func TestZeros(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations")
	add(t, open(t, path), "key_a", past)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, open(t, path), "key_b", past)
	if l := open(t, path); !l.Refuses("key_a", now) || !l.Refuses("key_b", now) {
		t.Errorf("refused: %d keys", len(l.Refused(now)))
	}
}
