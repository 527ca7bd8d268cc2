package dotenv

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf16"

	"github.com/Miosa-osa/miosa-env/api"
)

// object reads a JSON object. Names follow the rules for .env files. A string is decoded; a number, true and false
// keep their text in the file. null, lists, objects and duplicate names are errors.
func (p *parser) object() error {
	var whole json.RawMessage
	if err := json.Unmarshal(p.text[p.at:], &whole); err != nil {
		at := len(p.text)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && syntax.Error() != "unexpected end of JSON input" {
			at = p.at + int(syntax.Offset) - 1
		}
		return p.fail(at, "not JSON", "a file that begins with { is one JSON object: look for what is missing or too much here")
	}
	// The text is valid JSON from here on, so what is between tokens can be skipped.
	lines := map[string]int{} // by name
	for {
		p.pass(" \t\r\n{,")
		if p.text[p.at] == '}' {
			return nil
		}
		at := p.at
		p.countTo(at)
		name, err := p.jsonString()
		if err != nil {
			return err
		}
		v := Variable{Name: string(name), Line: p.line, spelling: spelling{json: true}}
		switch first, twice := lines[v.Name]; {
		case !isName(v.Name):
			return p.fail(at, "a name that no variable can have", "names are made of letters, digits, _, . and -, and begin with a letter, a digit or _")
		case twice:
			return p.fail(at, "the same name as in line "+strconv.Itoa(first), "remove one of the two")
		}
		lines[v.Name] = v.Line
		p.pass(" \t\r\n:")
		value, err := p.member()
		if err != nil {
			return err
		}
		v.Value = api.NewValue(value)
		p.found = append(p.found, &v)
	}
}

// otherJSON reports whether text is JSON other than an object, or starts like a list.
func otherJSON(text []byte) bool {
	if list, ok := bytes.CutPrefix(text, []byte("[")); ok {
		list = bytes.TrimLeft(list, " \t\r\n")
		return len(list) > 0 && bytes.IndexByte([]byte(`{["]`), list[0]) >= 0 || json.Valid(text)
	}
	return json.Valid(text)
}

// pass skips the given characters.
func (p *parser) pass(chars string) {
	p.at = len(p.text) - len(bytes.TrimLeft(p.text[p.at:], chars))
}

func isName(name string) bool {
	p := parser{text: []byte(name)}
	return name != "" && p.name() == name
}

// member reads the value of a member.
func (p *parser) member() ([]byte, error) {
	at := p.at
	switch p.text[at] {
	case 'n':
		return nil, p.fail(at, "null", `write "" for an empty value, or remove the member`)
	case '{', '[':
		return nil, p.fail(at, "a list or an object", "values are strings: put quotes around it and a backslash before each quote inside, or give its members names of their own")
	case '"':
		value, err := p.jsonString()
		if err == nil && bytes.IndexByte(value, 0) >= 0 {
			return nil, p.fail(at, "a NUL in a value", "remove it, since no variable can hold one")
		}
		return value, err
	}
	p.at += bytes.IndexAny(p.text[at:], " \t\r\n,}")
	return p.text[at:p.at], nil
}

// jsonString reads a string.
func (p *parser) jsonString() ([]byte, error) {
	at := p.at
	for p.at++; p.text[p.at] != '"'; p.at++ {
		if p.text[p.at] != '\\' {
			continue
		}
		if r := utf16Unit(p.text[p.at:]); utf16.IsSurrogate(r) {
			// Half of a character, which encoding/json would replace by U+FFFD.
			if utf16.DecodeRune(r, utf16Unit(p.text[p.at+6:])) == '\ufffd' {
				return nil, p.fail(p.at, "half of a surrogate pair", "write the character itself, or both halves of its escape")
			}
			p.at += 6
		}
		p.at++ // skip the escaped character
	}
	p.at++
	var text string
	if err := json.Unmarshal(p.text[at:p.at], &text); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// utf16Unit decodes an escape \uXXXX at the start of text; 0 if there is none.
func utf16Unit(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n)
}
