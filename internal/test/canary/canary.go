// Package canary finds secrets in places where they must not be.
package canary

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Files returns the contents of every file under dir, by path.
func Files(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the test's own folder
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Forms returns encodings of a secret of 20 bytes or more and of parts of it: plain, hexadecimal and base64.
func Forms(secret string) []string {
	list := []string{secret, secret[:8], secret[len(secret)-8:], secret[10:20], hex.EncodeToString([]byte(secret[8:16]))}
	for shift := range 3 { // the three alignments of base64, without the edges
		list = append(list, base64.RawStdEncoding.EncodeToString([]byte(secret[8-shift : 20]))[4:12])
	}
	return list
}
