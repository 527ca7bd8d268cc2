// Package forms lists the texts by which a value may appear in a program's output: as it is, line by line, and as common
// encoders and quoting functions write it.
package forms

import (
	"cmp"
	"slices"
	"strings"
)

// MinLength is the minimum length of a form, in bytes. Shorter texts are too common to be masked.
const MinLength = 6

// minLine is the minimum length of a line of a value, in bytes, without the white space around it.
const minLine = 8

// maxExtra limits the size of the forms that not every value has, in bytes for all values together.
const maxExtra = 1 << 20

// Form is a text that stands for a value.
type Form struct {
	Text  string
	Value int  // the value's index
	Part  bool // the text stands for a line of the value
}

// Of returns the forms of values, sorted by text and without duplicates. A text that several values share belongs to the
// first value of which it isn't a line, else to the first one. A value shorter than MinLength has no forms.
//
// Each value has encoded forms (hex, base64, URL, JSON) and its lines. Encoded forms of lines and quoted forms are added
// for the shortest values first, up to 1 MiB in all.
func Of(values []string) []Form {
	sets := make([]formSet, len(values))
	order := make([]int, len(values))
	for i, value := range values {
		order[i] = i
		sets[i] = formSet{value: i, seen: map[string]struct{}{}}
		sets[i].addBasic(value)
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(len(values[i]), len(values[j])) })
	left := maxExtra
	for _, i := range order {
		before := sets[i].size
		sets[i].addExtra(values[i], left)
		left -= sets[i].size - before
	}
	var all []Form
	for i := range sets {
		all = append(all, sets[i].forms...)
	}
	slices.SortFunc(all, func(a, b Form) int {
		byValue := cmp.Compare(a.Value, b.Value)
		switch {
		case a.Part && !b.Part:
			byValue = 1
		case b.Part && !a.Part:
			byValue = -1
		}
		return cmp.Or(strings.Compare(a.Text, b.Text), byValue)
	})
	return slices.CompactFunc(all, func(a, b Form) bool { return a.Text == b.Text })
}

// formSet holds the forms of one value.
type formSet struct {
	value int
	part  bool // added texts stand for a line of the value
	size  int  // of all texts
	forms []Form
	seen  map[string]struct{}
}

func (s *formSet) add(text string) {
	if len(text) < MinLength {
		return
	}
	if _, ok := s.seen[text]; ok {
		return
	}
	s.seen[text] = struct{}{}
	s.size += len(text)
	s.forms = append(s.forms, Form{text, s.value, s.part})
}

// addBroken adds a text of several lines, also with the line ends of a terminal.
func (s *formSet) addBroken(text string) {
	s.add(text)
	s.add(strings.ReplaceAll(text, "\n", "\r\n"))
}

// addBasic adds the forms that every value has.
func (s *formSet) addBasic(value string) {
	for _, whole := range wholes(value) {
		s.addBroken(whole)
		s.addBase(whole)
		if !plain(whole) {
			s.addURL(whole)
			s.addJSON(whole)
		}
	}
	if len(value) < MinLength {
		return
	}
	// echo $VALUE in a shell, which prints one line; and with all of Unicode's white space between words.
	shellWords := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	for _, words := range [][]string{shellWords, strings.Fields(value)} {
		if len(words) > 1 {
			s.add(strings.Join(words, " "))
		}
	}
	s.part = true
	for _, line := range lines(value) {
		s.add(line)
	}
}

// addExtra adds the other forms, one kind at a time, up to room bytes.
func (s *formSet) addExtra(value string, room int) {
	if len(value) < MinLength {
		return
	}
	parts, whole := lines(value), wholes(value)
	limit := s.size + room
	add := func(part bool, texts []string, kinds ...func(string)) {
		s.part = part
		for _, kind := range kinds {
			for _, text := range texts {
				if s.size >= limit {
					return
				}
				kind(text)
			}
		}
	}
	add(false, whole, s.addBase64OfRuby)
	add(false, slices.DeleteFunc(whole, plain), s.addQuoted, s.addEscaped, s.addMarkup, s.addMoreURL, s.addMoreJSON)
	add(true, slices.DeleteFunc(slices.Clone(parts), plain), s.addQuoted, s.addEscaped, s.addJSON, s.addMarkup, s.addURL, s.addMoreURL, s.addMoreJSON)
	add(true, parts, s.addBase)
}

// wholes returns the value as it is and without the white space around it, which a shell's $(...) and most readers of files
// drop.
func wholes(value string) []string {
	if len(value) < MinLength {
		return nil // longer forms of it are as common
	}
	all := []string{value}
	for _, cut := range []string{strings.TrimRight(value, "\r\n"), strings.Trim(value, space)} {
		if len(cut) >= MinLength && cut != all[len(all)-1] {
			all = append(all, cut)
		}
	}
	return all
}

const space = " \t\n\v\f\r"

// lines returns the lines of a value, without the white space around them, that are at least minLine bytes long and
// contain a letter or digit. The characters \n, which keys in one variable or in JSON contain, end a line too.
func lines(value string) []string {
	var all []string
	add := func(line string) {
		line = strings.Trim(line, space)
		if len(line) >= minLine && len(line) < len(value) && strings.ContainsFunc(line, wordy) {
			all = append(all, line)
		}
	}
	for line := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == '\r' }) {
		add(line)
		if strings.Contains(line, `\n`) {
			for part := range strings.SplitSeq(line, `\n`) {
				add(strings.TrimSuffix(part, `\r`))
			}
		}
	}
	return all
}

// wordy reports whether a character makes a line more than decoration.
func wordy(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r > '~'
}

// plain reports whether all encoders except hex and base64 leave a text unchanged.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
