package main

import (
	"fmt"
	"strings"
	"time"
)

// documents returns the licence, changelog and similar files of a package, by the path at which they are installed.
func (r *release) documents(of pkg, format string) map[string][]byte {
	if format != "deb" {
		dir := "/usr/share/licenses/" + of.name + "/"
		return map[string][]byte{dir + "LICENSE": r.texts["LICENSE"], dir + "THIRD-PARTY": r.licences[of.name]}
	}
	doc := "/usr/share/doc/" + of.name + "/"
	return map[string][]byte{
		doc + "copyright":                         copyright(string(r.texts["LICENSE"])),
		"/usr/share/lintian/overrides/" + of.name: overrides(of),
		doc + "changelog.Debian.gz":               r.debianChanges(of.name),
		doc + "changelog.gz":                      r.texts["CHANGELOG.md"],
		doc + "third-party.gz":                    r.licences[of.name],
	}
}

// copyright returns the licence in the format that Debian's programs read.
// Source: Machine-readable debian/copyright file, 1.0.
func copyright(licence string) []byte {
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
	return []byte("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: miosa-env\n" +
		"Source: https://github.com/Miosa-osa/miosa-env\n\nFiles: *\nCopyright: " + strings.Join(holders, "\n ") +
		"\nLicense: MIT\n" + strings.Join(text, "\n") + "\n")
}

// debianChanges returns the changelog of the package, which refers to the program's.
// Source: Debian Policy 4.4.
func (r *release) debianChanges(name string) []byte {
	return fmt.Appendf(nil, "%s (%s) stable; urgency=medium\n\n  * What has changed is in changelog.gz.\n\n -- %s  %s\n",
		name, r.number.debian(), maintainer, r.time.Format(time.RFC1123Z))
}

// overrides returns the tags that lintian must not report.
func overrides(of pkg) (text []byte) {
	for _, o := range of.overrides {
		text = fmt.Appendf(text, "# %s\n%s: %s\n", o[1], of.name, o[0])
	}
	return text
}
