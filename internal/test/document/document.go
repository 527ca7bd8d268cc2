// Package document parses the project's Markdown and runs the commands in it, for tests of the documents.
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

// Block is a fenced block of a page.
type Block struct {
	Heading  string // the nearest heading above, of any level, without #
	Comment  string // the HTML comment directly above, without <!-- and -->; may be empty
	Language string // the word after the opening fence
	Body     string
	Line     int // of the opening fence, from 1
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

// Blocks returns all blocks of a page. A block without a closing fence ends with the page.
func (p *Page) Blocks() (all []Block) {
	var heading, before string // before is the text since the last blank line
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

// comment returns the text of the comment at the end of a paragraph.
func comment(paragraph string) string {
	rest, ends := strings.CutSuffix(strings.TrimSpace(paragraph), "-->")
	if _, text, starts := strings.Cut(rest, "<!--"); ends && starts {
		return strings.Join(strings.Fields(text), " ")
	}
	return ""
}

// Block returns the first block of a language under a heading.
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

// Commands returns the blocks of commands under a heading, without exempt ones. The test fails if there aren't n.
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

// Exempt reports whether the comment says that no test runs this block.
func (b Block) Exempt() bool { return strings.HasPrefix(b.Comment, "No test runs ") }

// Line returns the only line of a text with a prefix.
func Line(t testing.TB, text, prefix string) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d lines begin with %q in\n%s", len(found), prefix, text)
	}
	return found[0]
}

// Script returns all blocks of a language whose comment names the test, joined.
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

// Prints checks that each line of want was printed.
func Prints(t testing.TB, out, want string) {
	t.Helper()
	for line := range strings.Lines(want) {
		if line = strings.TrimSuffix(line, "\n"); !strings.Contains(out, line) {
			t.Errorf("the session didn't print %q", line)
		}
	}
}
