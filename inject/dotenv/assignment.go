package dotenv

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// assignments reads a file of lines NAME=value.
func (p *parser) assignments() error {
	for p.at < len(p.text) {
		p.blanks()
		rest := p.text[p.at:]
		switch {
		case len(rest) == 0:
		case rest[0] == '#', rest[0] == '\n', bytes.HasPrefix(rest, []byte("\r\n")):
			if _, _, err := p.restOfLine(); err != nil {
				return err
			}
		default:
			if err := p.assignment(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) assignment() error {
	var v Variable
	p.countTo(p.at)
	v.Line = p.line
	name, from := p.name(), p.at
	if name == "export" && p.blanks() && p.at < len(p.text) && isNameStart(p.text[p.at]) {
		v.spelling.export = true
		name, from = p.name(), p.at
	}
	v.Name = name
	v.spelling.before = p.blanks() || p.at > from
	if err := p.equals(name); err != nil {
		return err
	}
	p.at++
	apart := p.blanks()
	var err error
	if p.at < len(p.text) && (p.text[p.at] == '\'' || p.text[p.at] == '"') {
		err = p.quoted(&v)
	} else {
		err = p.bare(&v, apart)
	}
	if err != nil {
		return err
	}
	v.spelling.after = apart && (v.spelling.quote != 0 || v.spelling.raw.Len() > 0)
	p.found = append(p.found, &v)
	return nil
}

// equals returns an error unless a name and an equals sign were read.
func (p *parser) equals(name string) error {
	next := byte('\n')
	if p.at < len(p.text) {
		next = p.text[p.at]
	}
	switch {
	case name != "" && next == '=':
		return nil
	case bytes.HasPrefix(p.text[p.at:], byteOrderMark):
		return p.fail(p.at, "a byte order mark inside the file", "remove it: it can only be the first character")
	case next == '\r' && !bytes.HasPrefix(p.text[p.at:], []byte("\r\n")):
		return p.fail(p.at, loneCR, loneCRFix)
	case next == '=':
		return p.fail(p.at, "no name before =", "write NAME=value")
	case name == "":
		return p.fail(p.at, "not a line of the form NAME=value", "names begin with a letter, a digit or _; comments begin with #; a value of several lines takes quotes")
	case next == ':':
		return p.fail(p.at, "a colon after the name", "write NAME=value")
	case next == '\n', next == '\r', next == '#', next == ' ', next == '\t', p.text[p.at-1] == ' ', p.text[p.at-1] == '\t':
		return p.fail(p.at, "no = after the name", "write NAME=value; a value of several lines takes quotes")
	}
	return p.fail(p.at, "a character that can't be in a name", "names are made of letters, digits, _, . and -")
}

// bare reads a value without quotes, and a comment. apart reports whether white space precedes the value.
func (p *parser) bare(v *Variable, apart bool) error {
	if p.at < len(p.text) && p.text[p.at] == '`' {
		return p.fail(p.at, "a value that begins with a backtick", "put single quotes around the value; for other programs the backtick is a quote itself, or runs a command")
	}
	line, crlf, err := p.restOfLine()
	if err != nil {
		return err
	}
	raw, comment := line, -1
	for i, c := range line {
		if c == '#' && (i > 0 && isBlank(line[i-1]) || i == 0 && apart) {
			raw, comment = line[:i], i
			break
		}
	}
	raw = bytes.TrimRight(raw, " \t")
	v.Value = api.NewValue(raw)
	v.spelling.raw, v.spelling.crlf = api.NewValue(raw), crlf
	if comment >= 0 {
		v.spelling.comments(line, comment)
	}
	return nil
}

// quoted reads a value in quotes, and a comment.
func (p *parser) quoted(v *Variable) error {
	quote, open := p.text[p.at], p.at
	end := open + 1
	for ; end < len(p.text) && p.text[end] != quote; end++ {
		if quote == '"' && p.text[end] == '\\' {
			end++
		}
	}
	if end >= len(p.text) {
		fix := "write the closing quote; a ' in the value takes double quotes around it"
		if quote == '"' {
			fix = `write the closing quote; a " in the value is written \"`
		}
		return p.fail(open, "a quote that isn't closed", fix)
	}
	raw := p.text[open+1 : end]
	p.at = end + 1
	after, crlf, err := p.restOfLine()
	if err != nil {
		return err
	}
	comment := bytes.TrimLeft(after, " \t")
	if len(comment) > 0 && (comment[0] != '#' || len(comment) == len(after)) {
		p.countTo(end)
		reason := "text after the closing quote"
		if p.line > v.Line {
			reason = "text after the quote that closes the value of line " + strconv.Itoa(v.Line)
		}
		return p.fail(end+1+len(after)-len(comment), reason, `the closing quote ends the value; a quote inside is written \" in double quotes, and a comment needs a space before #`)
	}
	v.Value = api.NewValue(unquoted(raw, quote))
	v.spelling.quote, v.spelling.raw, v.spelling.crlf = quote, api.NewValue(raw), crlf
	if len(comment) > 0 {
		v.spelling.comments(after, len(after)-len(comment))
	}
	return nil
}

// unquoted returns the text between quotes without CR LF and escapes: raw itself if it has none.
func unquoted(raw []byte, quote byte) []byte {
	if bytes.IndexByte(raw, '\r') < 0 && (quote == '\'' || bytes.IndexByte(raw, '\\') < 0) {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if i+1 < len(raw) {
			switch {
			case c == '\r' && raw[i+1] == '\n':
				continue
			case c == '\\' && quote == '"':
				if at := strings.IndexByte(escaped, raw[i+1]); at >= 0 {
					c = escapes[at]
					i++
				}
			}
		}
		out = append(out, c)
	}
	return out
}

// escaped lists the characters that a backslash in double quotes escapes; escapes lists their meanings.
const (
	escaped = "nrt\\\"$`"
	escapes = "\n\r\t\\\"$`"
)
