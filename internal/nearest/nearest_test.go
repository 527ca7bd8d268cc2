package nearest

import "testing"

func TestWord(t *testing.T) {
	commands := []string{"run", "export", "get", "list", "secrets", "bindings", "status"}
	for _, tt := range []struct {
		name, typed string
		known       []string
		want        string
	}{
		{"a letter too many", "runn", commands, "run"},
		{"one missing", "secret", commands, "secrets"},
		{"one different", "exporx", commands, "export"},
		{"two exchanged", "lsit", commands, "list"},
		{"upper case", "GET", commands, "get"},
		{"an abbreviation", "bind", commands, "bindings"},
		{"other separators", "on_change", []string{"on-revoke", "on-change"}, "on-change"},
		{"the nearest of two", "sb_12", []string{"sb_1", "sb_12x", "sb_123"}, "sb_1"},
		{"nothing near", "deploy", commands, ""},
		{"a single letter", "r", commands, ""},
		{"nothing typed", "", commands, ""},
		{"nothing known", "run", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Word(tt.typed, tt.known); got != tt.want {
				t.Errorf("%q is taken for %q, want %q", tt.typed, got, tt.want)
			}
		})
	}
}

func FuzzDistance(f *testing.F) {
	f.Add("kitten", "sitting")
	f.Add("", "a")
	f.Fuzz(func(t *testing.T, a, b string) {
		d := distance(a, b)
		if d != distance(b, a) {
			t.Errorf("the distance of %q and %q depends on the order", a, b)
		}
		if (d == 0) != (a == b) || d > max(len(a), len(b)) {
			t.Errorf("the distance of %q and %q is %d", a, b, d)
		}
	})
}
