package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// newKey generates a key of a test, and returns the files with it and with its public key.
func newKey(t *testing.T, name string) (private, public string) {
	t.Helper()
	private = filepath.Join(t.TempDir(), name)
	if err := sshKeygen(t.Context(), nil, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", private); err != nil {
		t.Fatal(err)
	}
	return private, private + ".pub"
}

// Who replaces files of a release and their checksums can't sign them. Nor is another key's signature accepted, or one that the
// same key made for another purpose, or none.
func TestAttack_ForgedRelease(t *testing.T) {
	needs.Command(t, "ssh-keygen")
	key, public := newKey(t, "release")
	other, _ := newKey(t, "other")
	for _, test := range []struct {
		name    string
		do      func(t *testing.T, r *release) error // nil: no change
		message string                               // substring of the error; "": verified
	}{
		{"as it was", nil, ""},
		{"forged", func(t *testing.T, r *release) error {
			if err := os.WriteFile(filepath.Join(r.out, "a.tar.gz"), []byte("forged"), 0o600); err != nil {
				return err
			}
			return r.sum()
		}, "SHA256SUMS isn't signed by "},
		{"another's signature", func(t *testing.T, r *release) error {
			r.signKey = other
			return r.sign(t.Context())
		}, "SHA256SUMS isn't signed by "},
		{"of another purpose", func(t *testing.T, r *release) error {
			if err := os.Remove(filepath.Join(r.out, signatureFile)); err != nil {
				return err
			}
			return sshKeygen(t.Context(), nil, "-Y", "sign", "-q", "-f", key, "-n", "git", filepath.Join(r.out, sumsFile))
		}, "SHA256SUMS isn't signed by "},
		{"not signed", func(t *testing.T, r *release) error {
			r.signKey = ""
			return r.sign(t.Context())
		}, "SHA256SUMS isn't signed by "},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &release{out: t.TempDir(), signKey: key}
			if err := os.WriteFile(filepath.Join(r.out, "a.tar.gz"), []byte("a"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := r.sum()
			if err == nil {
				err = r.sign(t.Context())
			}
			if err == nil && test.do != nil {
				err = test.do(t, r)
			}
			if err != nil {
				t.Fatal(err)
			}
			var errs strings.Builder
			code := run(t.Context(), []string{"-verify", "-out", r.out, "-public-key", public}, io.Discard, &errs)
			if code != min(len(test.message), 1) || !strings.Contains(errs.String(), test.message) {
				t.Errorf("exit code %d, want %q:\n%s", code, test.message, errs.String())
			}
		})
	}
}
