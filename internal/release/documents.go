package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// documents returns the licence, changelog and similar files of a package: their paths on disk, and where they are installed.
func (r *release) documents(of pkg, format, stage string) (map[string]string, error) {
	licence := filepath.Join(r.root, "LICENSE")
	if format != "deb" {
		dir := "/usr/share/licenses/" + of.name + "/"
		return map[string]string{licence: dir + "LICENSE", licencesIn(stage, of.name): dir + "THIRD-PARTY"}, nil
	}
	dir := filepath.Join(stage, "documents", of.name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(licence)
	if err != nil {
		return nil, err
	}
	list := map[string]string{}
	for name, content := range map[string]string{
		"copyright":        copyright(string(text)),
		"changelog.Debian": r.debianChanges(of.name),
		"overrides":        overrides(of),
	} {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			return nil, err
		}
		list[name] = at
	}
	doc := "/usr/share/doc/" + of.name + "/"
	all := map[string]string{
		list["copyright"]: doc + "copyright",
		list["overrides"]: "/usr/share/lintian/overrides/" + of.name,
	}
	for from, to := range map[string]string{
		list["changelog.Debian"]:              "changelog.Debian.gz",
		filepath.Join(r.root, "CHANGELOG.md"): "changelog.gz",
		licencesIn(stage, of.name):            "third-party.gz",
	} {
		zipped, err := zip(from, stage, of.name)
		if err != nil {
			return nil, err
		}
		all[zipped] = doc + to
	}
	return all, nil
}

// copyright returns the licence in the format that Debian's programs read.
// Source: Machine-readable debian/copyright file, 1.0.
func copyright(licence string) string {
	var holders, text []string
	for line := range strings.Lines(licence) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Copyright (c) "):
			holders = append(holders, strings.TrimPrefix(line, "Copyright (c) "))
		case line == "MIT License" || line == "" && len(text) == 0:
		case line == "":
			text = append(text, " .")
		default:
			text = append(text, " "+line)
		}
	}
	return "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: miosa-env\n" +
		"Source: https://github.com/Miosa-osa/miosa-env\n\nFiles: *\nCopyright: " + strings.Join(holders, "\n ") +
		"\nLicense: MIT\n" + strings.Join(text, "\n") + "\n"
}

// debianChanges returns the changelog of the package, which refers to the program's.
// Source: Debian Policy 4.4.
func (r *release) debianChanges(name string) string {
	return fmt.Sprintf("%s (%s) stable; urgency=medium\n\n  * What has changed is in changelog.gz.\n\n -- %s  %s\n",
		name, r.number.debian(), maintainer, r.time.Format(time.RFC1123Z))
}

// overrides returns the tags that lintian must not report.
func overrides(of pkg) string {
	var text strings.Builder
	for _, o := range of.overrides {
		fmt.Fprintf(&text, "# %s\n%s: %s\n", o[1], of.name, o[0])
	}
	return text.String()
}

// zip compresses a file into the stage and returns its path.
func zip(from, stage, name string) (string, error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	if content, err = zipped(content); err != nil {
		return "", err
	}
	dir := filepath.Join(stage, "zipped", name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(from)+".gz")
	return to, os.WriteFile(to, content, 0o600)
}
