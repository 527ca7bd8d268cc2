package setting

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrim(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " \t\r\n": "", "a": "a", " a b ": "a b", "a\r\n": "a", "\u00a0a\u2003": "a", "\ufeffa": "a", "\ufeff\n a": "a",
	} {
		if got := Trim(in); got != want {
			t.Errorf("Trim(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseBool(t *testing.T) {
	for _, in := range []string{"1", "t", "true", "TRUE", "True", "y", "yes", "YES", "on", "On", " yes\n"} {
		if on, err := ParseBool(in); !on || err != nil {
			t.Errorf("ParseBool(%q) = %v, %v", in, on, err)
		}
	}
	for _, in := range []string{"0", "f", "false", "FALSE", "n", "no", "No", "off", "OFF", "\tno"} {
		if on, err := ParseBool(in); on || err != nil {
			t.Errorf("ParseBool(%q) = %v, %v", in, on, err)
		}
	}
	for _, in := range []string{"", " ", "2", "-1", "maybe", "yess", "true,false", "y e s"} {
		if _, err := ParseBool(in); !errors.Is(err, ErrBool) {
			t.Errorf("ParseBool(%q): %v, want %v", in, err, ErrBool)
		}
	}
}

func TestAmong(t *testing.T) {
	words := []string{"trace", "warn"}
	for in, want := range map[string]string{"warn": "warn", "WARN": "warn", " Trace\n": "trace"} {
		if got, err := Among(in, words); got != want || err != nil {
			t.Errorf("Among(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "war", "warn warn"} {
		if got, err := Among(in, words); err == nil || err.Error() != "want one of trace, warn" {
			t.Errorf("Among(%q) = %q, %v", in, got, err)
		}
	}
}

func TestParseList(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		err  string
	}{
		{"A", []string{"A"}, ""},
		{"A,B", []string{"A", "B"}, ""},
		{" A , B\n", []string{"A", "B"}, ""},
		{"A B", []string{"A B"}, ""},
		{"DB_*,\tB", []string{"DB_*", "B"}, ""},
		{"", nil, "a name is missing: give one, or leave it out"},
		{" ", nil, "a name is missing: give one, or leave it out"},
		{",", nil, "a name is empty: take out the extra comma"},
		{"A,", nil, "a name is empty: take out the extra comma"},
		{",A", nil, "a name is empty: take out the extra comma"},
		{"A, ,B", nil, "a name is empty: take out the extra comma"},
	} {
		got, err := parseList(tt.in)
		problem := ""
		if err != nil {
			problem = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || problem != tt.err {
			t.Errorf("parseList(%q): error %q, want %q; (-want +got)\n%s", tt.in, problem, tt.err, diff)
		}
	}
}

func TestPatterns(t *testing.T) {
	var list []string
	v := Patterns(&list)
	for _, text := range []string{"A, DB_*", "[A-C]"} {
		if err := v.Set(text); err != nil {
			t.Errorf("Set(%q): %v", text, err)
		}
	}
	for _, text := range []string{"[", "B,[", "B,,C", ""} {
		if err := v.Set(text); err == nil {
			t.Errorf("Set(%q): no error", text)
		}
	}
	if diff := cmp.Diff([]string{"A", "DB_*", "[A-C]"}, list); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
