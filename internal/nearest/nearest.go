// Package nearest finds the word that was probably meant where one is unknown.
package nearest

import "strings"

// Word returns the known word that is nearest to the typed one, "" where none is near. Case doesn't count, - and _
// are the same, and of equally near ones the first is taken.
func Word(typed string, known []string) string {
	best, least := "", 1+limit(typed)
	for _, word := range known {
		if d := distance(folded(typed), folded(word)); d < least {
			best, least = word, d
		}
	}
	if best != "" || len(typed) < 3 {
		return best
	}
	for _, word := range known { // an abbreviation
		if strings.HasPrefix(folded(word), folded(typed)) {
			return word
		}
	}
	return ""
}

// Hint is "did you mean X?", and "" where no known word is near.
func Hint(typed string, known []string) string {
	if word := Word(typed, known); word != "" {
		return "did you mean " + word + "?"
	}
	return ""
}

// limit is how many mistakes a word may have.
func limit(typed string) int {
	switch n := len(typed); {
	case n < 2:
		return 0
	case n < 5:
		return 1
	case n < 9:
		return 2
	}
	return 3
}

func folded(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// distance counts the mistakes between two words: letters that are missing, too many, different, or exchanged with
// their neighbour.
func distance(a, b string) int {
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
