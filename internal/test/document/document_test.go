package document

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBlocks(t *testing.T) {
	page := &Page{Text: `# Top

<!-- TestA runs this block. -->
` + "```sh\none\n# not a heading\n```" + `

## Second

A line.
<!-- No test runs this,
     because. -->
` + "```text\ntwo\n```\n```\nthree\n```\n<!-- far -->\n\n```sh\nopen\n"}
	want := []Block{
		{Heading: "Top", Comment: "TestA runs this block.", Language: "sh", Body: "one\n# not a heading\n", Line: 4},
		{Heading: "Second", Comment: "No test runs this, because.", Language: "text", Body: "two\n", Line: 14},
		{Heading: "Second", Body: "three\n", Line: 17},
		{Heading: "Second", Language: "sh", Body: "open\n", Line: 22},
	}
	if diff := cmp.Diff(want, page.Blocks()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
