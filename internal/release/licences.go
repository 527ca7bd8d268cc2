package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// licenceFile matches the files of a module that must accompany a program that contains it.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|[a-z]+-licen[cs]e)(\.[a-z]+)?$`)

// licencesOf returns the licences of everything that is linked into a program.
func (r *release) licencesOf(ctx context.Context, name string, linked []module) ([]byte, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s has the following in it, under these licences.\n", name)
	for _, m := range linked {
		dir, err := r.sources(ctx, m)
		if err != nil {
			return nil, err
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		found := false
		for _, f := range files {
			if !licenceFile.MatchString(f.Name()) || !f.Type().IsRegular() {
				continue
			}
			content, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			found = true
			fmt.Fprintf(&text, "\n%s\n%s %s: %s\n%[1]s\n\n%[5]s\n", strings.Repeat("=", 80), m.path, m.version, f.Name(), bytes.TrimSpace(content))
		}
		if !found {
			return nil, fmt.Errorf("%s %s has no licence in %s: it can't be handed out", m.path, m.version, dir)
		}
	}
	return text.Bytes(), nil
}

// sources returns the folder of a module's sources, or of Go's own.
func (r *release) sources(ctx context.Context, m module) (string, error) {
	ask := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", m.path)
	if m.path == "std" {
		ask = exec.CommandContext(ctx, "go", "env", "GOROOT")
	}
	ask.Dir, ask.Stderr = r.root, os.Stderr
	dir, err := ask.Output()
	if err != nil {
		return "", fmt.Errorf("where are the sources of %s? %w", m.path, err)
	}
	return strings.TrimSpace(string(dir)), nil
}
