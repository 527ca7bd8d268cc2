package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// release is a version of all programs.
type release struct {
	bin, root, out  string
	nfpm, described string

	signKey, publicKey string // files; "": not signed, not verified

	number number
	time   time.Time // of the commit

	// What is the same on all platforms, set by make.
	texts    map[string][]byte            // LICENSE, README.md and CHANGELOG.md
	licences map[string][]byte            // of what is linked into each program
	shared   map[string]map[string][]byte // each program's files for PREFIX/share, by path
}

// platforms returns the platforms of the programs in bin, as OS/ARCH.
func (r *release) platforms() ([]string, error) {
	found, err := fs.Glob(os.DirFS(r.bin), "*/*")
	if err != nil || len(found) == 0 {
		return nil, errors.Join(fmt.Errorf("no programs in %s", r.bin), err)
	}
	return found, nil
}

// program returns the path of a platform's program.
func (r *release) program(platform, name string) string { return filepath.Join(r.bin, platform, name) }

// make makes all files of the release and lists them.
func (r *release) make(ctx context.Context, stdout io.Writer) error {
	platforms, err := r.platforms()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	here := runtime.GOOS + "/" + runtime.GOARCH
	if !slices.Contains(platforms, here) {
		return fmt.Errorf("no program for %s in %s: manual pages and completions come from it", here, r.bin)
	}
	r.texts, r.licences, r.shared = map[string][]byte{}, map[string][]byte{}, map[string]map[string][]byte{}
	paths := map[string]string{}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		paths[name] = filepath.Join(r.root, name)
	}
	if err := readFiles(r.texts, paths); err != nil {
		return err
	}
	for _, name := range programs {
		if r.shared[name], err = r.share(ctx, here, name); err != nil {
			return err
		}
		linked, err := r.linked(name, platforms)
		if err != nil {
			return err
		}
		if r.licences[name], err = r.licencesOf(ctx, name, linked); err != nil {
			return err
		}
		if err := r.bill(name, linked); err != nil {
			return err
		}
	}
	for _, p := range platforms {
		if err := r.archive(p); err != nil {
			return err
		}
		machine, linux := strings.CutPrefix(p, "linux/")
		if !linux || r.nfpm == "" {
			continue
		}
		for _, pack := range packages {
			for _, format := range formats {
				if err := r.pack(ctx, machine, pack, format); err != nil {
					return err
				}
			}
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
	if err := r.sign(ctx); err != nil {
		return err
	}
	return r.verify(ctx, stdout)
}
