package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const sumsFile = "SHA256SUMS"

// sum writes the checksums of all files in the format of sha256sum.
func (r *release) sum() error {
	var out strings.Builder
	err := r.each(func(name, sum string, _ int) error {
		fmt.Fprintf(&out, "%s  %s\n", sum, name)
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, sumsFile), []byte(out.String()), 0o644) //nolint:gosec // it is handed out
}

// each calls do with every file of the release except the checksums and their signature.
func (r *release) each(do func(name, sum string, size int) error) error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == sumsFile || e.Name() == signatureFile {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		if err := do(e.Name(), fmt.Sprintf("%x", sha256.Sum256(content)), len(content)); err != nil {
			return err
		}
	}
	return nil
}

// verify lists the files, and returns an error if one has another checksum, is missing, or isn't in the list, or if the list isn't
// signed by the public key.
func (r *release) verify(ctx context.Context, stdout io.Writer) error {
	if err := r.verifySignature(ctx); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.out, sumsFile))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	found := 0
	err = r.each(func(name, sum string, size int) error {
		if !slices.Contains(lines, sum+"  "+name) {
			return fmt.Errorf("%s isn't what %s says", name, sumsFile)
		}
		found++
		fmt.Fprintf(stdout, "%8.1f kB  %s\n", float64(size)/1e3, name)
		return nil
	})
	if err == nil && found != len(lines) {
		return fmt.Errorf("%s has %d files, and %d are there", sumsFile, len(lines), found)
	}
	return err
}
