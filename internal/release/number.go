package main

import (
	"regexp"
	"strings"
	"time"
)

// number is a version as packages take it: they sort by it, and each format has its own signs for what comes
// before and after a release.
type number struct {
	base  string // 1.2.3
	early string // rc1: before base; empty: none
	later string // git4: after base; empty: none
}

var describedAs = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-([a-z]+\.?\d+))?(?:-(\d+)-g[0-9a-f]+)?(?:-dirty)?$`)

// numberOf makes a number of what git describe says: v1.2.3, v1.2.3-rc1, v1.2.3-4-g0123abc. What has no tag
// comes before every release, in the order of its commits' times.
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

// String is the number as it stands in the names of files.
func (n number) String() string {
	s := n.base
	if n.early != "" {
		s += "-" + n.early
	}
	if n.later != "" {
		s += "+" + n.later
	}
	return s
}

// debian is the version as it stands in a package of Debian's.
func (n number) debian() string {
	s := n.base
	if n.early != "" {
		s += "~" + n.early
	}
	if n.later != "" {
		s += "+" + n.later
	}
	return s + "-" + revision
}
