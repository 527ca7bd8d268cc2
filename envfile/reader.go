// Package envfile reads .env files: those of run --env-file, import and dev --seed. Its rules are few, and
// each can be seen in the file; nothing is expanded. What other programs make of the same line is in
// Differences.
//
// The grammar, in the notation of the Go specification:
//
//	File       = [ BOM ] Line { LineEnd Line } .
//	LineEnd    = LF | CR LF .
//	Line       = Blanks [ Comment | Assignment ] .
//	Assignment = [ "export" Blank Blanks ] Name Blanks "=" Blanks [ Quoted | Bare ] Blanks [ Comment ] .
//	Name       = ( letter | digit | "_" ) { letter | digit | "_" | "." | "-" } .        ASCII only
//	Quoted     = "'" { any but "'" } "'" | '"' { any but '"' and "\" | "\" any } '"' .  on one or more lines
//	Bare       = any but a quote, "`" and a Blank, then up to what follows it .
//	Comment    = "#" up to the end of the line .                                        behind a value: after a Blank
//	Blank      = space | tab .
//	Blanks     = { Blank } .
//
// A bare value and one in single quotes are taken as they stand. In double quotes \n, \r and \t are a line
// feed, a carriage return and a tab, and a backslash is dropped before \, ", $ and `; before anything else
// it stays. CR LF counts as LF, in quotes too. Of several lines with one name the last counts.
//
// A file whose first character that isn't white space is { is a JSON object instead: see object.go.
package envfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// MaxSize is the longest file that is read, in bytes: more than any kernel lets a command have.
const MaxSize = 8 << 20

// Variable is one variable of a file.
type Variable struct {
	Name  string
	Value api.Value
	Line  int // of its name, from 1

	// Earlier is the assignment to the same name before this one, which doesn't count; nil: there is none.
	Earlier *Variable

	spelling spelling
}

// Wipe overwrites the value, earlier ones, and what the file had of them with zeros.
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
	list, err := Parse(text)
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

// Parse is Read for text that is in memory already, which it takes over.
//
// Errors: *Error without a path.
func Parse(text []byte) ([]Variable, error) {
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
	list := lastOfEach(p.found)
	if bom && len(list) > 0 {
		first := &list[0]
		for i := range list {
			for v := &list[i]; v != nil; v = v.Earlier {
				if v.Line < first.Line {
					first = v
				}
			}
		}
		first.spelling.bom = true
	}
	return list, nil
}

// lastOfEach sorts by name, and keeps the last of each.
func lastOfEach(found []Variable) []Variable {
	order := make([]int, len(found))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return found[order[i]].Name < found[order[j]].Name })
	kept := make([]Variable, 0, len(found))
	for _, at := range order {
		v := found[at]
		if n := len(kept); n > 0 && kept[n-1].Name == v.Name {
			earlier := kept[n-1]
			v.Earlier = &earlier
			kept[n-1] = v
		} else {
			kept = append(kept, v)
		}
	}
	return kept
}

type parser struct {
	text []byte
	at   int // what is read next
	// line is the number of the line that begins at start. Lines are counted up to counted, which is on that line.
	line, start, counted int
	found                []Variable
}

var byteOrderMark = []byte("\ufeff")

// checkText refuses what no value may have, wherever it stands.
func (p *parser) checkText() *Error {
	if len(p.text) > MaxSize {
		return &Error{Reason: "longer than 8 MiB", Fix: "a command can't have that many variables: check the path"}
	}
	if bytes.HasPrefix(p.text, []byte("\xff\xfe")) || bytes.HasPrefix(p.text, []byte("\xfe\xff")) {
		return p.fail(0, "UTF-16 text", "save the file as UTF-8: iconv -f UTF-16 -t UTF-8")
	}
	if at := bytes.IndexByte(p.text, 0); at >= 0 {
		return p.fail(at, "a NUL byte", "remove it, since no variable can hold one; a file in UTF-16 must be saved as UTF-8")
	}
	if utf8.Valid(p.text) {
		return nil
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(p.text[at:])
		if r == utf8.RuneError && size <= 1 {
			return p.fail(at, "a byte that isn't UTF-8", "save the file as UTF-8; from Latin-1: iconv -f LATIN1 -t UTF-8")
		}
		at += size
	}
}

// fail is an error at a place that isn't before p.start.
func (p *parser) fail(at int, reason, fix string) *Error {
	p.countTo(at)
	return &Error{Line: p.line, Column: 1 + utf8.RuneCount(p.text[p.start:at]), Reason: reason, Fix: fix}
}

// countTo makes line and start those of a place that isn't before p.start.
func (p *parser) countTo(at int) {
	if at <= p.counted {
		return
	}
	passed := p.text[p.counted:at]
	if n := bytes.Count(passed, []byte("\n")); n > 0 {
		p.line += n
		p.start = p.counted + bytes.LastIndexByte(passed, '\n') + 1
	}
	p.counted = at
}

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
	v.spelling.after = apart && !v.spelling.empty()
	p.found = append(p.found, v)
	return nil
}

// equals refuses what isn't a name and an equals sign.
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

// name takes a name, or nothing.
func (p *parser) name() string {
	from := p.at
	for p.at < len(p.text) && (isNameStart(p.text[p.at]) || p.at > from && (p.text[p.at] == '.' || p.text[p.at] == '-')) {
		p.at++
	}
	return string(p.text[from:p.at])
}

func isNameStart(c byte) bool {
	return c == '_' || isLetter(c) || isDigit(c)
}

// blanks passes over spaces and tabs. It returns whether there were any.
func (p *parser) blanks() bool {
	from := p.at
	for p.at < len(p.text) && isBlank(p.text[p.at]) {
		p.at++
	}
	return p.at > from
}

func isBlank(c byte) bool  { return c == ' ' || c == '\t' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

const (
	loneCR    = "a carriage return without a line feed"
	loneCRFix = "end lines with LF or CR LF; one that belongs to a value is written \\r in double quotes"
)

// restOfLine takes what is left of a line, with its end, and returns it without. crlf: the end is CR LF.
func (p *parser) restOfLine() (line []byte, crlf bool, err error) {
	from, to := p.at, bytes.IndexByte(p.text[p.at:], '\n')
	if to < 0 {
		line, p.at = p.text[from:], len(p.text)
	} else {
		line, p.at = p.text[from:from+to], from+to+1
		line, crlf = bytes.CutSuffix(line, []byte("\r"))
	}
	if at := bytes.IndexByte(line, '\r'); at >= 0 {
		return nil, false, p.fail(from+at, loneCR, loneCRFix)
	}
	return line, crlf, nil
}

// bare takes a value without quotes, and a comment. apart: there is white space before it.
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
	v.spelling.is(0, raw, crlf)
	if comment >= 0 {
		v.spelling.comments(line, comment)
	}
	return nil
}

// quoted takes a value in quotes, and a comment.
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
			reason = "text after the quote that closes the value of line " + decimal(v.Line)
		}
		return p.fail(end+1+len(after)-len(comment), reason, `the closing quote ends the value; a quote inside is written \" in double quotes, and a comment needs a space before #`)
	}
	v.Value = api.NewValue(unquoted(raw, quote))
	v.spelling.is(quote, raw, crlf)
	if len(comment) > 0 {
		v.spelling.comments(after, len(after)-len(comment))
	}
	return nil
}

// unquoted returns what stands between quotes without CR LF and escapes: raw itself, if there are none.
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

// escaped are the characters that a backslash in double quotes escapes, escapes what the two stand for.
const (
	escaped = "nrt\\\"$`"
	escapes = "\n\r\t\\\"$`"
)
