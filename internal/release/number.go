package main

import (
	"regexp"
	"strings"
	"time"
)

// number is the version of a package. Each format has its own characters for versions before and after a release.
type number struct {
	base  string // 1.2.3
	early string // rc1: before base; empty: none
	later string // git4: after base; empty: none
}

var describedAs = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([a-z]+\.?\d+))?(?:-(\d+)-g[0-9a-f]+)?(?:-dirty)?$`)

// numberOf parses the output of git describe: v1.2.3, v1.2.3-rc1, v1.2.3-4-g0123abc. A commit without a tag sorts before every
// release, by its time.
func numberOf(described string, at time.Time) number {
	m := describedAs.FindStringSubmatch(described)
	if m == nil {
		return number{base: "0.0.0", early: "git" + at.Format("20060102150405")}
	}
	n := number{base: m[1], early: strings.ReplaceAll(m[2], ".", "")}
	if m[3] != "" {
		n.later = "git" + m[3]
	}
	return n
}

// String returns the version for the names of files.
func (n number) String() string { return n.with("-") }

// debian returns the version of a Debian package.
func (n number) debian() string { return n.with("~") + "-" + revision }

// with returns the version with a character before early.
func (n number) with(before string) string {
	s := n.base
	if n.early != "" {
		s += before + n.early
	}
	if n.later != "" {
		s += "+" + n.later
	}
	return s
}
