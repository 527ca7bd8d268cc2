// Package nearest suggests known words for a misspelled one.
package nearest

import "strings"

// Word returns the known word that is most similar to the typed one, or "" if none is similar. It ignores case and treats - and
// _ as equal. The first of several equally similar words wins.
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

// Hint returns "did you mean X?", or "" if no known word is similar.
func Hint(typed string, known []string) string {
	if word := Word(typed, known); word != "" {
		return "did you mean " + word + "?"
	}
	return ""
}

// OrMeant returns the end of an error about an unknown word: ": did you mean X?", or "" if word is empty.
func OrMeant(word string) string {
	if word == "" {
		return ""
	}
	return ": did you mean " + word + "?"
}

// limit returns the largest distance of a similar word: 0 for one letter, 1 up to 4, 2 up to 8, then 3.
func limit(typed string) int {
	if len(typed) == 1 {
		return 0
	}
	return min((len(typed)+3)/4, 3)
}

func folded(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// distance returns the number of edits between two words: letters inserted, deleted, replaced, or swapped with their
// neighbour.
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
