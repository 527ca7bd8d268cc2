package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// release is a version of both programs.
type release struct {
	bin, root, out  string
	nfpm, described string
	number          number
	time            time.Time // of the commit
}

// platform is an operating system and an architecture, as Go names them.
type platform struct{ system, machine string }

// platforms returns the platforms of the programs in bin.
func (r *release) platforms() ([]platform, error) {
	found, err := filepath.Glob(filepath.Join(r.bin, "*", "*"))
	if err != nil || len(found) == 0 {
		return nil, errors.Join(fmt.Errorf("no programs in %s", r.bin), err)
	}
	var list []platform
	for _, dir := range found {
		list = append(list, platform{filepath.Base(filepath.Dir(dir)), filepath.Base(dir)})
	}
	return list, nil
}

// program returns the path of a platform's program.
func (r *release) program(p platform, name string) string {
	return filepath.Join(r.bin, p.system, p.machine, name)
}

// make makes all files of the release and lists them.
func (r *release) make(ctx context.Context, stdout io.Writer) error {
	platforms, err := r.platforms()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(stage) }()
	here := platform{runtime.GOOS, runtime.GOARCH}
	if !slices.Contains(platforms, here) {
		return fmt.Errorf("no program for %s/%s in %s: manual pages and completions come from it", here.system, here.machine, r.bin)
	}
	if err := r.share(ctx, here, stage); err != nil {
		return err
	}
	for _, name := range programs {
		if err := r.licences(ctx, name, platforms, stage); err != nil {
			return err
		}
	}
	for _, p := range platforms {
		if err := r.archive(p, stage); err != nil {
			return err
		}
		if p.system != "linux" || r.nfpm == "" {
			continue
		}
		for _, pack := range packages {
			for _, format := range formats {
				if err := r.pack(ctx, p, pack, format, stage); err != nil {
					return err
				}
			}
		}
	}
	for _, name := range programs {
		if err := r.bill(name, platforms); err != nil {
			return err
		}
	}
	script, err := os.ReadFile(filepath.Join(r.root, "packaging", "install.sh"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, "install.sh"), script, 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	if err := r.sum(); err != nil {
		return err
	}
	return r.verify(ctx, stdout)
}
