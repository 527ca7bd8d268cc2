package dotenv

import (
	"bytes"
	"unicode/utf8"
)

// parser reads the text of a file from front to back.
type parser struct {
	text []byte
	at   int // offset of the next byte to read
	// line is the number of the line that begins at start. Lines are counted up to counted, which is on that line.
	line, start, counted int
	found                []*Variable
}

var byteOrderMark = []byte("\ufeff")

// checkText refuses bytes that no value may contain.
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

// fail returns an error for offset at, which must not precede p.start.
func (p *parser) fail(at int, reason, fix string) *Error {
	p.countTo(at)
	return &Error{Line: p.line, Column: 1 + utf8.RuneCount(p.text[p.start:at]), Reason: reason, Fix: fix}
}

// countTo sets line and start to those of offset at, which must not precede p.start.
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

// name reads a name; "" if there is none.
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

// blanks skips spaces and tabs, and reports whether there were any.
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

// restOfLine reads the rest of a line, and returns it without its end. crlf reports whether the end is CR LF.
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
