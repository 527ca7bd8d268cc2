package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// programs are the released programs.
var programs = []string{"miosa-env", "miosa-vault", "miosa-egress"}

// about has a one-line description of each program.
var about = map[string]string{
	"miosa-env":    "start a command with the secrets bound to its sandbox or computer",
	"miosa-vault":  "keep secrets, and serve them to the sandboxes they are bound to",
	"miosa-egress": "put secrets into the requests of sandboxes that don't have them",
}

// completions are the paths of completion scripts below PREFIX/share.
var completions = map[string]string{
	"bash": "bash-completion/completions/%s",
	"zsh":  "zsh/site-functions/_%s",
	"fish": "fish/vendor_completions.d/%s.fish",
}

// share returns a program's files for PREFIX/share, by path: manual pages and completion scripts, which the program prints.
func (r *release) share(ctx context.Context, here, name string) (map[string][]byte, error) {
	bin, err := filepath.Abs(r.program(here, name))
	if err != nil {
		return nil, err
	}
	m := manual{bin: bin, date: r.time.Format(time.DateOnly), files: map[string][]byte{}}
	if err := m.add(ctx, []string{name}, about[name], ""); err != nil {
		return nil, fmt.Errorf("manual pages of %s: %w", name, err)
	}
	for shell, at := range completions {
		script, err := exec.CommandContext(ctx, bin, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("%s completion %s: %w", name, shell, err)
		}
		m.files[fmt.Sprintf(at, name)] = script
	}
	return m.files, nil
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
