package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A release fails verification if a file was changed, removed, added or is missing in the checksums, or if the
// checksums are missing.
func TestVerify(t *testing.T) {
	for _, test := range []struct {
		name    string
		do      func(dir string) error // nil: no change
		message string                 // substring of the error; "": verified
	}{
		{"as it was", nil, ""},
		{"changed", func(dir string) error { return os.WriteFile(filepath.Join(dir, "b.deb"), []byte("B"), 0o600) }, "b.deb isn't what SHA256SUMS says"},
		{"emptied", func(dir string) error { return os.Truncate(filepath.Join(dir, "b.deb"), 0) }, "b.deb isn't what"},
		{"renamed", func(dir string) error { return os.Rename(filepath.Join(dir, "b.deb"), filepath.Join(dir, "c.deb")) }, "c.deb isn't what"},
		{"exchanged", func(dir string) error { return os.Link(filepath.Join(dir, "a.tar.gz"), filepath.Join(dir, "z.deb")) }, "z.deb isn't what"},
		{"taken away", func(dir string) error { return os.Remove(filepath.Join(dir, "b.deb")) }, "SHA256SUMS has 2 files, and 1 are there"},
		{"without sums", func(dir string) error { return os.Remove(filepath.Join(dir, sumsFile)) }, "no such file"},
		{"with no sums", func(dir string) error { return os.Truncate(filepath.Join(dir, sumsFile), 0) }, "isn't what"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := release{out: t.TempDir()}
			for _, name := range []string{"a.tar.gz", "b.deb"} {
				if err := os.WriteFile(filepath.Join(r.out, name), []byte(name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.sum(); err != nil {
				t.Fatal(err)
			}
			if test.do != nil {
				if err := test.do(r.out); err != nil {
					t.Fatal(err)
				}
			}
			var errs strings.Builder
			code := run(t.Context(), []string{"-verify", "-out", r.out}, io.Discard, &errs)
			if code != min(len(test.message), 1) || !strings.Contains(errs.String(), test.message) {
				t.Errorf("exit code %d, want %q:\n%s", code, test.message, errs.String())
			}
		})
	}
}

// Versions of git describe map to file names and package versions that sort correctly.
func TestNumber(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for described, want := range map[string][2]string{
		"v1.2.3":                  {"1.2.3", "1.2.3-1"},
		"v1.2.3-rc1":              {"1.2.3-rc1", "1.2.3~rc1-1"},
		"v1.2.3-rc.1":             {"1.2.3-rc1", "1.2.3~rc1-1"},
		"v1.2.3-4-g0123abc":       {"1.2.3+git4", "1.2.3+git4-1"},
		"v1.2.3-4-g0123abc-dirty": {"1.2.3+git4", "1.2.3+git4-1"},
		"v1.2.3-rc1-4-g0123abc":   {"1.2.3-rc1+git4", "1.2.3~rc1+git4-1"},
		"0123abc":                 {"0.0.0-git20260131120000", "0.0.0~git20260131120000-1"},
	} {
		n := numberOf(described, at)
		if diff := cmp.Diff([2]string{n.String(), n.debian()}, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", described, diff)
		}
	}
}
