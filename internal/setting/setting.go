// Package setting parses the values of flags, environment variables and configuration files.
package setting

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Trim removes white space and byte order marks around a setting, such as the newline at the end of a file.
func Trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}

// ParseBool parses true or false, yes or no, on or off, 1 or 0, in any case.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(Trim(s)) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off":
		return false, nil
	}
	return false, ErrBool
}

// ErrBool is the error of ParseBool.
var ErrBool = errors.New("want true or false (or yes or no, on or off, 1 or 0)")

// Among returns the word that equals s, ignoring case and white space around it.
func Among(s string, words []string) (string, error) {
	for _, word := range words {
		if strings.EqualFold(Trim(s), word) {
			return word, nil
		}
	}
	return "", fmt.Errorf("want one of %s", strings.Join(words, ", "))
}

// parseList splits a list at its commas, and trims each name.
func parseList(s string) ([]string, error) {
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
