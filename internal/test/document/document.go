// Package document reads the project's Markdown, and runs the commands in it, for tests that hold documents to
// what they say.
//
//	page := document.Read(t, "../../docs/vault.md")
//	out := document.Session{Script: page.Block(t, "Start", "sh"), Dir: t.TempDir(), Env: environ}.Run(t)
//	document.Prints(t, out, page.Block(t, "Start", "text"))
package document

import (
	"os"
	"strings"
	"testing"
)

// Page is a Markdown document.
type Page struct {
	Path string
	Text string
}

// Block is what stands between two fences of a page.
type Block struct {
	Heading  string // the nearest one above, of any level, without its #
	Comment  string // the HTML comment right above, without <!-- and -->; empty where there is none
	Language string // what follows the opening fence
	Body     string // with the line end of its last line
	Line     int    // of the opening fence, from 1
}

// Read reads a page.
func Read(t testing.TB, path string) *Page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Page{path, string(text)}
}

// Blocks gives all blocks of a page, in its order. A block that isn't closed goes to the page's end.
func (p *Page) Blocks() (all []Block) {
	var heading, before string // before is what stands between the last blank line and here
	var open *Block
	n := 0
	for line := range strings.Lines(p.Text) {
		n++
		text := strings.TrimSpace(line)
		language, fence := strings.CutPrefix(text, "```")
		switch {
		case open != nil && fence:
			all, open = append(all, *open), nil
		case open != nil:
			open.Body += line
		case fence:
			open = &Block{Heading: heading, Comment: comment(before), Language: language, Line: n}
			before = ""
		case strings.HasPrefix(line, "#"):
			heading, before = strings.TrimSpace(strings.TrimLeft(line, "#")), ""
		case text == "":
			before = ""
		default:
			before += line
		}
	}
	if open != nil {
		all = append(all, *open)
	}
	return all
}

// comment gives the text of the comment that a paragraph ends with.
func comment(paragraph string) string {
	rest, ends := strings.CutSuffix(strings.TrimSpace(paragraph), "-->")
	if _, text, starts := strings.Cut(rest, "<!--"); ends && starts {
		return strings.Join(strings.Fields(text), " ")
	}
	return ""
}

// Block gives the first block of a language under a heading.
func (p *Page) Block(t testing.TB, heading, language string) string {
	t.Helper()
	for _, b := range p.Blocks() {
		if b.Heading == heading && b.Language == language {
			return b.Body
		}
	}
	t.Fatalf("%s has no %s block under %q", p.Path, language, heading)
	return ""
}

// Commands gives the n blocks of commands under a heading, but for those of which a comment says that no test runs them.
func (p *Page) Commands(t testing.TB, heading string, n int) (scripts []string) {
	t.Helper()
	for _, b := range p.Blocks() {
		if b.Heading == heading && b.Language == "sh" && !b.Exempt() {
			scripts = append(scripts, b.Body)
		}
	}
	if len(scripts) != n {
		t.Fatalf("%s has %d blocks of commands to run under %q, and a test runs %d", p.Path, len(scripts), heading, n)
	}
	return scripts
}

// Exempt tells whether the comment says that no test runs this block.
func (b Block) Exempt() bool { return strings.HasPrefix(b.Comment, "No test runs ") }

// Line is the only line of a text that begins in a way.
func Line(t testing.TB, text, begins string) (found string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begins) {
			found, n = strings.TrimSpace(line), n+1
		}
	}
	if n != 1 {
		t.Fatalf("%d lines begin with %q in\n%s", n, begins, text)
	}
	return found
}

// Script gives all blocks of a language whose comment says that the named test runs them, one after the other.
func (p *Page) Script(t testing.TB, test, language string) (script string) {
	t.Helper()
	for _, b := range p.Blocks() {
		if b.Language == language && strings.HasPrefix(b.Comment, test+" ") {
			script += b.Body
		}
	}
	if script == "" {
		t.Fatalf("%s has no %s block whose comment begins with %s", p.Path, language, test)
	}
	return script
}

// Prints looks for each line of want in what was printed.
func Prints(t testing.TB, out, want string) {
	t.Helper()
	for line := range strings.Lines(want) {
		if line = strings.TrimSuffix(line, "\n"); !strings.Contains(out, line) {
			t.Errorf("the session didn't print %q", line)
		}
	}
}
