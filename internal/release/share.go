package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// programs are what is handed out.
var programs = []string{"miosa-env", "miosa-vault"}

// about says what a program does, in a line.
var about = map[string]string{
	"miosa-env":   "start a command with the secrets bound to its sandbox or computer",
	"miosa-vault": "keep secrets, and serve them to the sandboxes they are bound to",
}

// completions are where the shells look for them, below PREFIX/share.
var completions = map[string]string{
	"bash": "bash-completion/completions/%s",
	"zsh":  "zsh/site-functions/_%s",
	"fish": "fish/vendor_completions.d/%s.fish",
}

// share puts what belongs to PREFIX/share into stage/NAME, by a program's name: manual pages and
// completions, made by the programs themselves.
func (r *release) share(ctx context.Context, here platform, stage string) error {
	for _, name := range programs {
		bin, err := filepath.Abs(r.program(here, name))
		if err != nil {
			return err
		}
		to := filepath.Join(stage, name)
		man := exec.CommandContext(ctx, "go", "run", "./internal/man", "-bin", bin, "-short", about[name],
			"-date", r.time.Format(time.DateOnly), "-to", filepath.Join(to, "man", "man1"))
		man.Dir, man.Stderr = r.root, os.Stderr
		if err := man.Run(); err != nil {
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

// zipped is content as gzip has it, without a name and a time.
func zipped(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
