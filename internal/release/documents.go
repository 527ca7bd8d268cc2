package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// documents are what a package has to say about itself, where its system looks for it: from where they are to where
// they go.
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
	changes, err := zip(filepath.Join(r.root, "CHANGELOG.md"), stage, of.name)
	if err != nil {
		return nil, err
	}
	others, err := zip(licencesIn(stage, of.name), stage, of.name)
	if err != nil {
		return nil, err
	}
	debian, err := zip(list["changelog.Debian"], stage, of.name)
	doc := "/usr/share/doc/" + of.name + "/"
	return map[string]string{
		list["copyright"]: doc + "copyright",
		debian:            doc + "changelog.Debian.gz",
		changes:           doc + "changelog.gz",
		others:            doc + "third-party.gz",
		list["overrides"]: "/usr/share/lintian/overrides/" + of.name,
	}, err
}

// copyright is the licence in the form that Debian's programs read.
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

// debianChanges is the changelog of the package, which says as much as that there is one of the program.
// Source: Debian Policy 4.4.
func (r *release) debianChanges(name string) string {
	return fmt.Sprintf("%s (%s) stable; urgency=medium\n\n  * What has changed is in changelog.gz.\n\n -- %s  %s\n",
		name, r.number.debian(), maintainer, r.time.Format(time.RFC1123Z))
}

// overrides are what lintian isn't to say.
func overrides(of pkg) string {
	var text strings.Builder
	for _, o := range of.overrides {
		fmt.Fprintf(&text, "# %s\n%s: %s\n", o[1], of.name, o[0])
	}
	return text.String()
}

// zip compresses a file into the stage, and returns where.
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
