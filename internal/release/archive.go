package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// archive writes the tar.gz of a platform: one folder with the layout of PREFIX.
func (r *release) archive(platform string) error {
	files, bin := map[string][]byte{}, map[string]string{}
	for _, name := range programs {
		bin["bin/"+name] = r.program(platform, name)
		files["share/doc/miosa-env/licences-of-"+name+".txt"] = r.licences[name]
		for path, content := range r.shared[name] {
			files["share/"+path] = content
		}
	}
	for name, text := range r.texts {
		files["share/doc/miosa-env/"+name] = text
	}
	if err := readFiles(files, bin); err != nil {
		return err
	}
	folder := fmt.Sprintf("miosa-env_%s_%s", r.number, strings.ReplaceAll(platform, "/", "_"))
	content, err := r.tar(folder, files)
	if err != nil {
		return err
	}
	if content, err = zipped(content); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, folder+".tar.gz"), content, 0o644) //nolint:gosec // it is handed out
}

// readFiles adds the files at the paths in from to files, under the same keys.
func readFiles(files map[string][]byte, from map[string]string) error {
	for name, path := range from {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[name] = content
	}
	return nil
}

// tar packs files into one folder: sorted, owned by root, with the commit's time.
func (r *release) tar(folder string, files map[string][]byte) ([]byte, error) {
	modes := map[string]int64{"/": 0o755}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			modes["/"+dir+"/"] = 0o755
		}
		modes["/"+name] = 0o644
		if strings.HasPrefix(name, "bin/") {
			modes["/"+name] = 0o755
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		h := &tar.Header{Name: folder + name, Mode: modes[name], ModTime: r.time, Uname: "root", Gname: "root", Typeflag: tar.TypeDir, Format: tar.FormatUSTAR}
		content, file := files[name[1:]]
		if file {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
