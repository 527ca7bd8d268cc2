package main

import (
	"io/fs"
	"path/filepath"
)

// walkFiles calls do with each regular file below a directory, and its path from there, with slashes.
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
