// Package forms lists the texts under which a value may show up in a program's output: as it is, by the line, and
// as the common encoders and quoters write it.
package forms

import (
	"cmp"
	"slices"
	"strings"
)

// MinLength is the least length of a form, in bytes. A shorter text is too common to be masked.
const MinLength = 6

// MinLine is the least length of a line of a longer value, in bytes, without the white space around it.
const MinLine = 8

// maxExtra bounds the bytes of the forms of all values together, beyond those that each value always has.
const maxExtra = 1 << 20

// A Form is one text that stands for a value.
type Form struct {
	Text  string
	Value int  // the value's place in what Of was given
	Part  bool // the text stands for a line of the value, not for all of it
}

// Of returns the forms of values, sorted by text and without repetitions. Of values that share a text the one
// that is it as a whole comes first, then the one given first. A value shorter than MinLength has no form.
//
// Every value has its own encoded forms (hex, base64, URL, JSON), and its lines as they are. The rest, which is the
// encoded forms of lines and all quoted forms, is added to the shortest values first, until these forms
// have 1 MiB.
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
		return cmp.Or(strings.Compare(a.Text, b.Text), compareBools(a.Part, b.Part), cmp.Compare(a.Value, b.Value))
	})
	return slices.CompactFunc(all, func(a, b Form) bool { return a.Text == b.Text })
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// formSet holds the forms of one value.
type formSet struct {
	value int
	part  bool // what is added stands for a part of the value
	size  int  // of the texts together
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

// addBroken adds a text of several lines as written, and as a terminal's line discipline shows it.
func (s *formSet) addBroken(text string) {
	s.add(text)
	s.add(strings.ReplaceAll(text, "\n", "\r\n"))
}

// addBasic adds what every value has.
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
	// A shell's echo $VALUE, which makes one line of all.
	if words := strings.Fields(value); len(words) > 1 {
		s.add(strings.Join(words, " "))
	}
	s.part = true
	for _, line := range Lines(value) {
		s.add(line)
	}
}

// addExtra adds the rest, one kind of encoding at a time, as long as there is room bytes for it.
func (s *formSet) addExtra(value string, room int) {
	if len(value) < MinLength {
		return
	}
	lines, whole := Lines(value), wholes(value)
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
	add(false, slices.DeleteFunc(whole, plain), s.addQuoted, s.addEscaped, s.addMarkup)
	add(true, slices.DeleteFunc(slices.Clone(lines), plain), s.addQuoted, s.addEscaped, s.addJSON, s.addMarkup, s.addURL)
	add(true, lines, s.addBase)
}

// wholes returns the texts that are all of the value: as it is, and without white space around it, which
// a shell's $(...) and most readers of files drop.
func wholes(value string) []string {
	if len(value) < MinLength {
		return nil // some of its forms are longer, but as common
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

// Lines returns the lines of a value of several, without the white space around them, that are at
// least MinLine bytes long and hold a letter or digit. A \n spelled with a backslash, as keys have it that stand in one
// variable or in JSON, ends a line too.
func Lines(value string) []string {
	var lines []string
	add := func(line string) {
		line = strings.Trim(line, space)
		if len(line) >= MinLine && len(line) < len(value) && strings.ContainsFunc(line, wordy) {
			lines = append(lines, line)
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
	return lines
}

// wordy reports whether a line with this character can be more than decoration.
func wordy(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r > '~'
}

// plain reports whether every encoder but hex and base64 writes a text as it is.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
