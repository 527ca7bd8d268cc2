package tenant

import (
	"strings"
	"testing"
)

func TestGeneratedValues(t *testing.T) {
	count := map[rune]int{}
	const rounds, length = 200, 310
	seen := map[string]bool{}
	for range rounds {
		v := generateValue(length)
		text := v.Reveal()
		if len(text) != length || strings.Trim(text, generateAlphabet) != "" {
			t.Fatalf("%d characters, of which %d aren't letters and digits", len(text), len(strings.Trim(text, generateAlphabet)))
		}
		if seen[text] {
			t.Fatal("a value came twice")
		}
		seen[text] = true
		for _, c := range text {
			count[c]++
		}
	}
	// Each is expected 1000 times; the bias of a plain b % 62 would be a quarter more for some. Nine sigma are 286.
	for _, c := range generateAlphabet {
		if n := count[c]; n < 714 || n > 1286 {
			t.Errorf("%c came %d times", c, n)
		}
	}
}
