package rule

import "testing"

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/", "/", true}, {"/", "/a", false}, {"/user", "/user", true}, {"/user", "/user/", false}, {"/user", "/User", false},
		{"/repos/*", "/repos/a", true}, {"/repos/*", "/repos/", false}, {"/repos/*", "/repos/a/b", false}, {"/repos/*/x", "/repos//x", false},
		{"/v*/x", "/v1/x", true}, {"/v*/x", "/v/x", true}, {"/v*/x", "/v1/y/x", false}, {"/*.json", "/a.json", true},
		{"/repos/**", "/repos/", true}, {"/repos/**", "/repos/a/b", true}, {"/repos/**", "/repos", false}, {"/repos/**", "/repositories", false},
		{"/**/x", "/a/b/x", true}, {"/**", "/", true}, {"/a**", "/abc/d", true}, {"/a.b", "/axb", false},
		{"/%75ser", "/user", true}, {"/user", "/%75ser", true}, {"/a%20b", "/a%20b", true}, {"/b%c3%bccher/*", "/b%C3%BCcher/1", true}, {"/a/*", "/a/%ff", true},
		{"/p/group%2Fname/**", "/p/group%2Fname/x", true}, {"/p/group%2Fname/**", "/p/group%2fname/x", true}, {"/p/group/name/**", "/p/group%2Fname/x", false},
		{"/p/**", "/p/group%2Fname/x", true}, {"/bot*/send", "/bot12:ab/send", true}, {"/a/**", "/a/100%25", true}, {"/a/**", "/a//b", true},
		{"/a%2A", "/a*", true}, {"/a%2a", "/a%2A", true}, {"/a%2A", "/ab", false}, {"/%2A%2A", "/a/b", false}, {"/%2A/b", "/a/b", false}, {"/a*%2A", "/abc*", true}, {"/a*%2A", "/abc", false},
	} {
		p, err := ParsePath(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		} else if got := p.Matches(tt.path); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.path, got)
		}
	}
	for _, text := range []string{"", "a", "*", "/a?b", "/a#b", "/%", "/%00", "/%2", "/a b", "/b\u00fccher", "/\xff", `/a\b`} {
		if _, err := ParsePath(text); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
}

// A path that a server may resolve to one outside of the pattern doesn't match it.
func TestAttack_Paths(t *testing.T) {
	for _, path := range []string{
		"/repos/acme/../other/x", "/repos/acme/..", "/repos/acme/./x", "/repos/acme/%2e%2e/other/x", "/repos/acme/%2E./x", "/repos/acme/.%2e/x",
		"/repos/acme/%252e%252e/other", "/repos/acme/%25252e%25252e/other", "/repos/acme/%2525252525252e", "/repos/acme/..%2fother", "/repos/acme/..%5cother", `/repos/acme/..\secret`,
		"/repos/acme/..%252fother", "/repos/acme/..;/other", "/repos/acme/..;a=b/other", "/repos/acme/%2e%2e%3b/other", "/repos/acme/a%00b", "/repos/acme/%zz",
		"/repos/acme/%25zz/%252e%252e/x", "/repos/acme/%25zz/..%252f..%252fx", "/repos/acme/%25/%255c..%255cx", "/repos/acme/%25%252e%252e/%252e%252e/x",
		"/repos/acme%2fx", "repos/acme/x", "", "*", "http://api.github.com/repos/acme/x", "/x/repos/acme/y",
	} {
		for _, pattern := range []string{"/repos/acme/**", "/repos/acme/*", "/repos/acme/*/*", "/repos/*"} {
			if p, err := ParsePath(pattern); err != nil || p.Matches(path) {
				t.Errorf("%s matches %q, %v", pattern, path, err)
			}
		}
	}
}

// A path of which a server may make one with the pattern may match it.
func TestAttack_PathVariants(t *testing.T) {
	p, err := ParsePath("/admin/**")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/admin/x", "/admin/", "//admin/x", "/%2Fadmin/x", "/admin%2Fx", "/admin;a=b/x", "/%2561dmin/x", "/%25zz/%252e%252e/admin/x", "/Admin/x", "/ADMIN%2fx",
		"/%61dmin/x", "/admin%252Fx", "/admin%25252Fx", "/admin//x", "/;a/admin/x", "/%3Ba/admin/x", "/admin%3ba/x", "/x/../admin/x", "/./admin/x", `/x\..\admin`, "/admin/%00", "*", "/%zz",
		"/admin%3Ba%2Fx", "///admin///x", "/%2525252561dmin/x",
	} {
		if !p.MayMatch(path) {
			t.Errorf("%s doesn't match", path)
		}
	}
	for _, path := range []string{"/", "/x", "/admin", "/x/admin/y", "/administrator/x", "/x;admin/y", "/100%25/admin/", "/a%20b"} {
		if p.MayMatch(path) {
			t.Errorf("%s matches", path)
		}
	}
	if p, err := ParsePath("/a/*"); err != nil || !p.MayMatch("/a/b%2Fc") || !p.MayMatch("/a/b") || p.MayMatch("/a/b/c") || p.MayMatch("/a/") {
		t.Errorf("a star: %v", err)
	}
	if p, err := ParsePath("/a/*/b%20c"); err != nil || !p.MayMatch("/a/x%2Fy/b%20c") { // to a server that leaves encoded slashes in a segment
		t.Errorf("a star and an escape: %v", err)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("/repos/*/a**", "/repos/x/ab/c")
	f.Add("/a%2Fb", "/a%2fb")
	f.Add("/**", "/%2e%2e/x")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := ParsePath(pattern)
		if err != nil {
			return
		}
		if p.Matches(path) && !p.MayMatch(path) {
			t.Errorf("%q matches %q, and may not", pattern, path)
		}
		if p.Matches(path) && ambiguous(path) {
			t.Errorf("%q matches %q", pattern, path)
		}
		all, err := ParsePath("/**")
		if err != nil {
			t.Fatal(err)
		}
		if p.Matches(path) && !all.Matches(path) {
			t.Errorf("%q matches %q, and /** doesn't", pattern, path)
		}
	})
}
