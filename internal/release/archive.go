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
func (r *release) archive(p platform, stage string) error {
	files := map[string]string{} // path in the archive to path on disk
	for _, name := range programs {
		files["bin/"+name] = r.program(p, name)
		files["share/doc/miosa-env/licences-of-"+name+".txt"] = licencesIn(stage, name)
		err := walkFiles(filepath.Join(stage, name), func(at, name string) error {
			files["share/"+name] = at
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		files["share/doc/miosa-env/"+name] = filepath.Join(r.root, name)
	}
	folder := fmt.Sprintf("miosa-env_%s_%s_%s", r.number, p.system, p.machine)
	content, err := r.tar(folder, files)
	if err != nil {
		return err
	}
	if content, err = zipped(content); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, folder+".tar.gz"), content, 0o644) //nolint:gosec // it is handed out
}

// tar packs files into one folder: sorted, owned by root, with the commit's time.
func (r *release) tar(folder string, files map[string]string) ([]byte, error) {
	modes := map[string]int64{folder + "/": 0o755}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			modes[folder+"/"+dir+"/"] = 0o755
		}
		modes[folder+"/"+name] = 0o644
		if strings.HasPrefix(name, "bin/") {
			modes[folder+"/"+name] = 0o755
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		h := &tar.Header{Name: name, Mode: modes[name], ModTime: r.time, Uname: "root", Gname: "root", Typeflag: tar.TypeDir, Format: tar.FormatUSTAR}
		var content []byte
		if !strings.HasSuffix(name, "/") {
			var err error
			if content, err = os.ReadFile(files[strings.TrimPrefix(name, folder+"/")]); err != nil {
				return nil, err
			}
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
