package powertest

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is an operation of a test on a folder.
type step func(folder string) error

func write(name, text string) step {
	return func(folder string) error { return os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600) }
}

func rename(from, to string) step {
	return func(folder string) error {
		return os.Rename(filepath.Join(folder, from), filepath.Join(folder, to))
	}
}

// syncFile syncs a file, or with "." the folder.
func syncFile(name string) step {
	return func(folder string) error {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}
}

// What a file may contain after a loss of power, for the usual ways to replace it. The old content is "old".
func TestCrashes(t *testing.T) {
	const absent = "absent"
	for _, tt := range []struct {
		name  string
		steps []step
		want  []string // all that a file may contain
	}{
		{"nothing", nil, []string{"old"}},
		{"written in place", []step{write("file", "new")}, []string{"", "\x00\x00\x00", "new", "old"}},
		{"written in place and synced", []step{write("file", "new"), syncFile("file")}, []string{"new"}},
		{"renamed", []step{write("temp", "new"), rename("temp", "file")}, []string{"", "\x00\x00\x00", "new", "old"}},
		{"synced and renamed", []step{write("temp", "new"), syncFile("temp"), rename("temp", "file")}, []string{"new", "old"}},
		{"renamed and its name synced", []step{write("temp", "new"), rename("temp", "file"), syncFile(".")}, []string{"", "\x00\x00\x00", "new"}},
		{"all synced", []step{write("temp", "new"), syncFile("temp"), rename("temp", "file"), syncFile(".")}, []string{"new"}},
		{"removed", []step{func(folder string) error { return os.Remove(filepath.Join(folder, "file")) }}, []string{absent, "old"}},
		{"removed and synced", []step{func(folder string) error { return os.Remove(filepath.Join(folder, "file")) }, syncFile(".")}, []string{absent}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := mount(t)
			run := func(steps ...step) {
				for _, s := range steps {
					if err := s(disk.folder); err != nil {
						t.Fatal(err)
					}
				}
			}
			run(write("file", "old"))
			disk.begin()
			run(tt.steps...)
			made, folder, got := disk.recording(), t.TempDir(), map[string]bool{}
			for seed := range uint64(300) {
				at := filepath.Join(folder, "disk")
				l := newLosses(seed)
				l.stale = false
				if err := made.crash(at, len(made.ops), l); err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(filepath.Join(at, "file"))
				if errors.Is(err, fs.ErrNotExist) {
					text = []byte(absent)
				}
				got[string(text)] = true
				if err := os.RemoveAll(at); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(got)), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// A long write is torn at sectors, and files that are written without a loss are as the file system has them.
func TestCrashOfParts(t *testing.T) {
	disk := mount(t)
	disk.begin()
	long := make([]byte, 10000)
	for i := range long {
		long[i] = 'x'
	}
	for _, err := range []error{
		os.Mkdir(disk.at("folder"), 0o700), os.WriteFile(disk.at("folder/long"), long, 0o600), os.Symlink("folder/long", disk.at("link")),
		os.Link(disk.at("folder/long"), disk.at("folder/second")), os.Truncate(disk.at("folder/long"), 9000), os.Chmod(disk.at("folder/long"), 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	made := disk.recording()
	whole := filepath.Join(t.TempDir(), "whole")
	if err := made.crash(whole, len(made.ops), losses{Rand: newLosses(1).Rand, keep: 1}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "folder/second"} {
		text, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil || string(text) != string(long[:9000]) {
			t.Errorf("%s has %d bytes, %v", name, len(text), err)
		}
	}
	if info, err := os.Stat(filepath.Join(whole, "folder/long")); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info, err)
	}
	torn := false
	for seed := range uint64(100) {
		at := filepath.Join(t.TempDir(), "torn")
		if err := made.crash(at, len(made.ops), losses{Rand: newLosses(seed).Rand, keep: 0.8, tear: 1, sector: 512}); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(filepath.Join(at, "folder", "long"))
		torn = torn || len(text) == 9000 && slices.Contains(text, 0) && slices.Contains(text, 'x')
	}
	if !torn {
		t.Error("no write is torn")
	}
}
