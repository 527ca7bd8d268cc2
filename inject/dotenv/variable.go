package dotenv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// MaxSize is the longest file that is read, in bytes: more than any kernel accepts as an environment.
const MaxSize = 8 << 20

// Variable is one variable of a file.
type Variable struct {
	Name  string
	Value api.Value
	Line  int // of its name, from 1

	// Earlier is the previous assignment to the same name, which this one overrides; nil if there is none.
	Earlier *Variable

	spelling spelling
}

// Wipe overwrites the value, the values of earlier assignments, and the file's text of them with zeros.
func (v *Variable) Wipe() {
	for ; v != nil; v = v.Earlier {
		v.Value.Wipe()
		v.spelling.raw.Wipe()
	}
}

// Read returns the variables of a file, or of a pipe, sorted by name, each once.
//
// Errors: *Error, also for a file over MaxSize.
func Read(path string) ([]Variable, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	list, err := parse(text)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Path = path
	}
	return list, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause.Of(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	return text, cause.Of(err)
}

// parse is Read for text in memory. It keeps text.
//
// Errors: *Error without a path.
func parse(text []byte) ([]Variable, error) {
	p := &parser{text: text, line: 1}
	if err := p.checkText(); err != nil {
		return nil, err
	}
	bom := bytes.HasPrefix(text, byteOrderMark)
	if bom {
		p.at, p.start, p.counted = len(byteOrderMark), len(byteOrderMark), len(byteOrderMark)
	}
	read := p.assignments
	switch begin := bytes.TrimLeft(text[p.at:], " \t\r\n"); {
	case bytes.HasPrefix(begin, []byte("{")):
		read = p.object
	case otherJSON(begin):
		return nil, p.fail(len(text)-len(begin), "JSON that isn't an object", `write a JSON object, such as {"NAME": "value"}, or lines NAME=value`)
	}
	if err := read(); err != nil {
		return nil, err
	}
	if bom && len(p.found) > 0 {
		p.found[0].spelling.bom = true
	}
	return lastOfEach(p.found), nil
}

// lastOfEach sorts variables by name and keeps the last one of each name.
func lastOfEach(found []*Variable) []Variable {
	slices.SortStableFunc(found, func(v, w *Variable) int { return strings.Compare(v.Name, w.Name) })
	kept := make([]Variable, 0, len(found))
	for i, v := range found {
		if i > 0 && found[i-1].Name == v.Name {
			v.Earlier = found[i-1]
			kept = kept[:len(kept)-1]
		}
		kept = append(kept, *v)
	}
	return kept
}
