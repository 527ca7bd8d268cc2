package setting

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Value is a variable that can be set from text. It is a pflag.Value.
type Value struct {
	Words []string  // that shells complete; the only ones that a Choice accepts
	List  *[]string // the variable of a List

	kind string
	set  func(string) error
	text func() string
}

// Of returns a Value that sets the variable at to. Its kind is what Type returns.
func Of[T any](kind string, to *T, parse func(string) (T, error), text func(T) string) *Value {
	return &Value{
		kind: kind,
		set: func(s string) error {
			got, err := parse(s)
			if err == nil {
				*to = got
			}
			return err
		},
		text: func() string { return text(*to) },
	}
}

// Set sets the variable, unless it returns an error.
func (v *Value) Set(s string) error { return v.set(s) }

func (v *Value) String() string { return v.text() }

// Type returns the kind of the value.
func (v *Value) Type() string { return v.kind }

// Suggest sets the words that shells complete.
func (v *Value) Suggest(words ...string) *Value {
	v.Words = words
	return v
}

// Text is text without the white space around it, such as a URL or an id.
func Text(to *string) *Value { return textOf("string", to, Trim) }

// Path is the path of a file or directory, with any white space around it.
func Path(to *string) *Value { return textOf("path", to, same) }

// Word is text in lower case, for words that the vault defines.
func Word(to *string) *Value {
	return textOf("string", to, func(s string) string { return strings.ToLower(Trim(s)) })
}

func textOf(kind string, to *string, change func(string) string) *Value {
	return Of(kind, to, func(s string) (string, error) { return change(s), nil }, same)
}

// Choice is one of some words, in any case.
func Choice(to *string, words []string) *Value {
	return Of("choice", to, func(s string) (string, error) {
		word, err := Among(s, words)
		if err != nil {
			err = errors.New(err.Error() + nearest.OrMeant(nearest.Word(s, words)))
		}
		return word, err
	}, same).Suggest(words...)
}

// Bool is true or false, as ParseBool reads it.
func Bool(to *bool) *Value { return Of("bool", to, ParseBool, strconv.FormatBool) }

// Duration is a length of time, zero or more, as time.ParseDuration reads it.
func Duration(to *time.Duration) *Value {
	return Of("duration", to, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(Trim(s))
		if err != nil || d < 0 {
			return 0, errors.New("want a length of time such as 500ms, 10s or 2m")
		}
		return d, nil
	}, time.Duration.String)
}

// List is a list of words. Each Set adds words, which parseList reads.
func List(to *[]string) *Value {
	v := Of("list", to, func(s string) ([]string, error) {
		words, err := parseList(s)
		return append(*to, words...), err
	}, func(words []string) string { return strings.Join(words, ",") })
	v.List = to
	return v
}

// Patterns is a List of words that path.Match accepts.
func Patterns(to *[]string) *Value {
	v := List(to)
	set := v.set
	v.set = func(s string) error {
		words, _ := parseList(s) // set returns its error
		for _, word := range words {
			if _, err := path.Match(word, ""); err != nil {
				return errors.New("want names, or patterns such as 'DB_*'")
			}
		}
		return set(s)
	}
	return v
}

// Mode is the permissions of a file in octal digits.
func Mode(to *fs.FileMode) *Value {
	return Of("mode", to, func(s string) (fs.FileMode, error) {
		bits, err := strconv.ParseUint(Trim(s), 8, 12)
		if err != nil || bits == 0 {
			return 0, errors.New("want permissions in octal digits, such as 0600 or 0640")
		}
		return fs.FileMode(bits), nil
	}, func(mode fs.FileMode) string { return fmt.Sprintf("%#o", uint32(mode)) })
}

// Prefix is the beginning of a variable's name, or nothing.
func Prefix(to *string) *Value {
	return Of("string", to, func(s string) (string, error) {
		s = Trim(s)
		for i, c := range []byte(s) {
			switch {
			case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && i > 0:
			default:
				return "", errors.New("want letters, digits and _, no digit first")
			}
		}
		return s, nil
	}, same)
}

func same(s string) string { return s }
