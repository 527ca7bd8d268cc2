package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// programs are the released programs.
var programs = []string{"miosa-env", "miosa-vault"}

// about has a one-line description of each program.
var about = map[string]string{
	"miosa-env":   "start a command with the secrets bound to its sandbox or computer",
	"miosa-vault": "keep secrets, and serve them to the sandboxes they are bound to",
}

// completions are the paths of completion scripts below PREFIX/share.
var completions = map[string]string{
	"bash": "bash-completion/completions/%s",
	"zsh":  "zsh/site-functions/_%s",
	"fish": "fish/vendor_completions.d/%s.fish",
}

// share writes the files for PREFIX/share to stage/NAME for each program: manual pages and completion scripts, which the
// programs print.
func (r *release) share(ctx context.Context, here platform, stage string) error {
	for _, name := range programs {
		bin, err := filepath.Abs(r.program(here, name))
		if err != nil {
			return err
		}
		to := filepath.Join(stage, name)
		m := manual{bin: bin, date: r.time.Format(time.DateOnly), folder: filepath.Join(to, "man", "man1")}
		if err := errors.Join(os.MkdirAll(m.folder, 0o750), m.write(ctx, []string{name}, about[name], "")); err != nil {
			return fmt.Errorf("manual pages of %s: %w", name, err)
		}
		for shell, at := range completions {
			script, err := exec.CommandContext(ctx, bin, "completion", shell).Output()
			if err != nil {
				return fmt.Errorf("%s completion %s: %w", name, shell, err)
			}
			file := filepath.Join(to, fmt.Sprintf(at, name))
			if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
				return err
			}
			if err := os.WriteFile(file, script, 0o644); err != nil { //nolint:gosec // for everybody's shell
				return err
			}
		}
	}
	return nil
}

// zipped compresses content with gzip, without a name and a time.
func zipped(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

// walkFiles calls do with each regular file below a directory, and its relative path with slashes.
func walkFiles(dir string, do func(at, name string) error) error {
	return filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		return do(at, filepath.ToSlash(name))
	})
}
