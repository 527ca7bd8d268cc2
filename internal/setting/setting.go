// Package setting reads what people write in flags, variables and files.
package setting

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Trim drops the white space around a setting, and a byte order mark: a line end from a file or a YAML block, a
// space of any kind from a copy.
func Trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}

// Bool reads true or false, yes or no, on or off, 1 or 0, in any case.
func Bool(s string) (bool, error) {
	switch strings.ToLower(Trim(s)) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off":
		return false, nil
	}
	return false, ErrBool
}

// ErrBool says what Bool reads.
var ErrBool = errors.New("want true or false (or yes or no, on or off, 1 or 0)")

// Among returns the one of some words that is meant, in any case and without white space around it.
func Among(s string, words []string) (string, error) {
	for _, word := range words {
		if strings.EqualFold(Trim(s), word) {
			return word, nil
		}
	}
	return "", fmt.Errorf("want one of %s", strings.Join(words, ", "))
}

// List takes a list apart at its commas, without the white space around each name.
func List(s string) ([]string, error) {
	var list []string
	for word := range strings.SplitSeq(s, ",") {
		word = Trim(word)
		if word == "" {
			if Trim(s) == "" {
				return nil, errors.New("a name is missing: give one, or leave it out")
			}
			return nil, errors.New("a name is empty: take out the extra comma")
		}
		list = append(list, word)
	}
	return list, nil
}
