package inject

import (
	"bytes"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// valueHashes find values in text without holding them: lengths in bytes -> hashes -> names. The lines of a
// value are found one by one, without the white space around them. Those under mask.MinLength are too common to be masked.
type valueHashes struct {
	lengths []int // the longest first
	names   map[int]map[uint64]string
}

// hashesOf knows values as they are and as a format spells them: a hook that prints values has mostly
// read them from its output.
func hashesOf(format string, pairs []api.Bound) valueHashes {
	s := valueHashes{names: map[int]map[uint64]string{}}
	for _, pair := range pairs {
		only := []api.Bound{pair}
		room := make([]byte, 0, Room(format, only))
		api.Quietly(func() {
			pair.Value.Use(func(value []byte) { s.add(pair.ExposeAsEnv, value) })
			if text, err := Append(room, format, only); err == nil {
				s.add(pair.ExposeAsEnv, spelledIn(text))
			}
			clear(room[:cap(room)])
		})
	}
	s.sort()
	return s
}

func (s *valueHashes) sort() {
	s.lengths = slices.Sorted(maps.Keys(s.names))
	slices.Reverse(s.lengths)
}

// with knows what both know. Neither is changed.
func (s valueHashes) with(other valueHashes) valueHashes {
	all := valueHashes{names: map[int]map[uint64]string{}}
	for _, one := range []valueHashes{s, other} {
		for n, names := range one.names {
			if all.names[n] == nil {
				all.names[n] = map[uint64]string{}
			}
			maps.Copy(all.names[n], names)
		}
	}
	all.sort()
	return all
}

// spelledIn is what stands for the value in the text of one variable, without what encloses it.
func spelledIn(text []byte) []byte {
	after := bytes.IndexAny(text, "=:") // which is in no name
	return bytes.Trim(text[after+1:], "\"' \n}")
}

func (s *valueHashes) add(name string, value []byte) {
	for line := range bytes.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == '\r' }) {
		s.addLine(name, line)
		if bytes.Contains(line, []byte(`\n`)) { // line breaks as keys have them that stand on one line
			for part := range bytes.SplitSeq(line, []byte(`\n`)) {
				s.addLine(name, part)
			}
		}
	}
}

func (s *valueHashes) addLine(name string, line []byte) {
	line = bytes.Trim(line, " \t\v\f")
	n := len(line)
	if n < mask.MinLength || n > hookLine {
		return
	}
	if s.names[n] == nil {
		s.names[n] = map[uint64]string{}
	}
	s.names[n][maphash.Bytes(seeds[0], line)] = name
}

// hide replaces values in a line by their names in brackets. Of such that overlap no byte is left.
func (s valueHashes) hide(line []byte) string {
	var out strings.Builder
	hidden := 0 // up to here line is covered
	for i := range line {
		for _, n := range s.lengths {
			if i+n <= len(line) && i+n > hidden {
				if name, ok := s.names[n][maphash.Bytes(seeds[0], line[i:i+n])]; ok {
					if i >= hidden {
						out.WriteString("[" + name + "]")
					}
					hidden = i + n
					break
				}
			}
		}
		if i >= hidden {
			out.WriteByte(line[i])
		}
	}
	return out.String()
}
