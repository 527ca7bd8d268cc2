package releasetest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Block is a fenced block of commands of a document.
type Block struct {
	Under string // the heading
	Why   string // why no test runs it; empty: one does
	Text  string
}

var (
	commands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	comment  = regexp.MustCompile(`<!-- (A test runs [^>]*|No test runs these lines: ([^>]*)) -->\n$`)
)

// Blocks are all those of a document. Above each stands a comment that says whether a test runs it.
func Blocks(t *testing.T, path string) (list []Block) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, at := range commands.FindAllStringSubmatchIndex(text, -1) {
		said := comment.FindStringSubmatch(text[:at[0]])
		if said == nil {
			t.Fatalf("%s: no comment says whether a test runs\n%s", path, text[at[2]:at[3]])
		}
		above := headings.FindAllStringSubmatch(text[:at[0]], -1)
		list = append(list, Block{above[len(above)-1][1], said[2], text[at[2]:at[3]]})
	}
	return list
}

// Under is what a document says to do in one place, in blocks that a test runs. There must be n.
func Under(t *testing.T, path, heading string, n int) (texts []string) {
	t.Helper()
	for _, b := range Blocks(t, path) {
		if b.Under == heading && b.Why == "" {
			texts = append(texts, b.Text)
		}
	}
	if len(texts) != n {
		t.Fatalf("%s has %d blocks of commands to run under %q, and a test runs %d", path, len(texts), heading, n)
	}
	return texts
}

// Line is the only one of a text that begins in a way.
func Line(t *testing.T, text, begins string) string {
	t.Helper()
	if found := regexp.MustCompile("(?m)^"+regexp.QuoteMeta(begins)+".*$").FindAllString(text, -1); len(found) == 1 {
		return strings.TrimSpace(found[0])
	}
	t.Fatalf("no single line begins with %q in\n%s", begins, text)
	return ""
}
