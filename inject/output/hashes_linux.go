package output

import (
	"bytes"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// valueHashes maps hashes of values to names, to find values in text without storing them. Lines of a value are found one
// by one, without the white space around them. Lines shorter than mask.MinLength are too common to be masked.
type valueHashes map[valueHash]string

type valueHash struct {
	length int // of the value, in bytes
	sum    uint64
}

var hashSeed = maphash.MakeSeed()

func hashOf(b []byte) valueHash { return valueHash{len(b), maphash.Bytes(hashSeed, b)} }

// hashesOf returns the hashes of values as they are and as a format writes them, since a hook that prints values has
// mostly read them from its output.
func hashesOf(format string, bound []api.Bound) valueHashes {
	h := valueHashes{}
	for _, b := range bound {
		api.Quietly(func() {
			b.Value.Use(func(value []byte) { h.add(b.ExposeAsEnv, value) })
		})
		_ = envfile.Use(format, []api.Bound{b}, func(text []byte) error {
			after := bytes.IndexAny(text, "=:") // which names don't contain
			api.Quietly(func() { h.add(b.ExposeAsEnv, bytes.Trim(text[after+1:], "\"' \n}")) })
			return nil
		})
	}
	return h
}

// with returns the hashes of both.
func (h valueHashes) with(other valueHashes) valueHashes {
	all := valueHashes{}
	maps.Copy(all, h)
	maps.Copy(all, other)
	return all
}

func (h valueHashes) add(name string, value []byte) {
	for line := range bytes.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == '\r' }) {
		h.addLine(name, line)
		for part := range bytes.SplitSeq(line, []byte(`\n`)) { // line breaks in a value on one line
			h.addLine(name, part)
		}
	}
}

func (h valueHashes) addLine(name string, line []byte) {
	line = bytes.Trim(line, " \t\v\f")
	if len(line) >= mask.MinLength && len(line) <= hookLine {
		h[hashOf(line)] = name
	}
}

// hide replaces values in a line by their names in brackets. No byte of overlapping values remains.
func (h valueHashes) hide(line []byte) string {
	var lengths []int
	for hash := range h {
		lengths = append(lengths, hash.length)
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	var out strings.Builder
	hidden := 0 // line[:hidden] is done
	for i := range line {
		for _, n := range slices.Backward(lengths) { // the longest value counts
			if i+n <= len(line) && i+n > hidden {
				if name, ok := h[hashOf(line[i:i+n])]; ok {
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
