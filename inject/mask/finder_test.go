package mask

import (
	"slices"
	"strings"
	"testing"
)

func TestFinder(t *testing.T) {
	texts := []string{"ghp_abcdef", "ghp_abc", "token-1", "token-2", "oken-1x"}
	f := NewFinder(texts)
	for _, tt := range []struct {
		name, text string
		from       int
		want       []string
	}{
		{"empty", "", 0, nil},
		{"nothing", "a long text that has none of them, but token- and ghp_ab", 0, nil},
		{"whole", "token-1", 0, []string{"token-1"}},
		{"longest", "x ghp_abcdef ghp_abcde", 0, []string{"ghp_abcdef", "ghp_abc"}},
		{"several", "token-2token-1", 0, []string{"token-2", "token-1"}},
		{"overlapping: the first", "token-1x", 0, []string{"token-1"}},
		{"after the offset", "token-1 token-2", 1, []string{"token-2"}},
		{"at the end", strings.Repeat("t", 100) + "token-2", 0, []string{"token-2"}},
	} {
		var got []string
		for from := tt.from; ; {
			start, end, index := f.Find(tt.text, from)
			if start < 0 {
				break
			}
			if tt.text[start:end] != texts[index] {
				t.Errorf("%s: found %q as %q", tt.name, tt.text[start:end], texts[index])
			}
			got, from = append(got, tt.text[start:end]), end
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzFinder(f *testing.F) {
	f.Add("ghp_abcdef\nghp_abc\ntoken-1", "x token-1 ghp_abcde ghp_abcdef", 3)
	f.Add("aaaaaa\naaaaaaaaab\nbaaaaa", "aaaaaaaaaaaaaabaaaaaaaaaabbaaaab", 0)
	f.Fuzz(func(t *testing.T, lines, text string, from int) {
		texts := slices.DeleteFunc(strings.Split(lines, "\n"), func(s string) bool { return len(s) < MinLength })
		slices.Sort(texts)
		texts = slices.Compact(texts)
		from = max(0, min(from, len(text)))
		start, index := -1, -1
		for i, s := range texts {
			if at := strings.Index(text[from:], s); at >= 0 && (start < 0 || from+at < start || from+at == start && len(s) > len(texts[index])) {
				start, index = from+at, i
			}
		}
		if gotStart, end, gotIndex := NewFinder(texts).Find(text, from); gotStart != start || gotIndex != index || start >= 0 && end != start+len(texts[index]) {
			t.Errorf("%q from %d in %q: %d, %d, %d, want %d, %d", texts, from, text, gotStart, end, gotIndex, start, index)
		}
	})
}
