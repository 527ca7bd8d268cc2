package forms

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// TestFormsAreLong checks that no form is so short that it could occur in ordinary text by chance.
func TestFormsAreLong(t *testing.T) {
	values := []string{"123456", "12345\n", "1234\r\n", "\n\n\n\n\n\n", "      ", "1\n2\n3\n", "12345678\n1234567\n1", "a \n\n\n \n b"}
	for n := MinLength; n < 40; n++ {
		values = append(values, strings.Repeat("x", n), strings.Repeat("\xff", n), strings.Repeat("' ", n))
	}
	for _, v := range values {
		for _, form := range Of([]string{v}) {
			if len(form.Text) < MinLength {
				t.Errorf("%s has the form %q", strconv.Quote(v), form.Text)
			}
		}
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        []string
	}{
		{"one line", "secret-value", nil},
		{"a line break at its end", "secret-value\n", []string{"secret-value"}},
		{"PEM", "-----BEGIN KEY-----\nMIIEabcdefgh\nshort\n-----END KEY-----\n", []string{"-----BEGIN KEY-----", "MIIEabcdefgh", "-----END KEY-----"}},
		{"CRLF and CR", "line-one\r\nline-two\rline-three", []string{"line-one", "line-two", "line-three"}},
		{"indented", "a:\n  bbbbbbbb\t\n\t1234567  \n", []string{"bbbbbbbb"}},
		{"decoration", "----------\n{\n}, {}, {}, {}\n########\nääää", []string{"ääää"}},
		{"escaped line breaks", `-----BEGIN KEY-----\nMIIEabcdefgh\r\nshort\n`, []string{"-----BEGIN KEY-----", "MIIEabcdefgh"}},
		{"in JSON", "{\n  \"key\": \"BEGIN-KEY\\nMIIEabcdefgh\\n\"\n}", []string{`"key": "BEGIN-KEY\nMIIEabcdefgh\n"`, `"key": "BEGIN-KEY`, "MIIEabcdefgh"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(tt.value)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFormsOfTwo checks that a text that is a whole value and also a line of another value belongs to the former, and
// that forms are sorted without duplicates.
func TestFormsOfTwo(t *testing.T) {
	list := Of([]string{"first-line\nsecond-line", "second-line", "second-line"})
	at := slices.IndexFunc(list, func(f Form) bool { return f.Text == "second-line" })
	if at < 0 || list[at].Value != 1 || list[at].Part {
		t.Errorf("second-line is %+v", list[max(at, 0)])
	}
	for i := range list[1:] {
		if list[i].Text >= list[i+1].Text {
			t.Errorf("%q comes before %q", list[i].Text, list[i+1].Text)
		}
	}
}

// TestFormsOfLongValues checks that the forms added to basic forms and lines are limited in size, and that short values
// get theirs first.
func TestFormsOfLongValues(t *testing.T) {
	needs.Long(t, "it encodes values of a MiB")
	var long strings.Builder
	for i := 0; long.Len() < 1<<20; i++ {
		long.WriteString(`{"name": "a <b> & 'c'", "number": ` + strconv.Itoa(i) + "},\n")
	}
	basic := formSet{seen: map[string]struct{}{}}
	basic.addBasic(long.String())
	size, short, lines := 0, false, false
	for _, f := range Of([]string{long.String(), "it's short"}) {
		size += len(f.Text)
		short = short || f.Text == `it'\''s short`
		lines = lines || f.Text == `{"name": "a <b> & 'c'", "number": 17},`
	}
	// The limit is checked before the forms of one kind are added for a text. They are a few times as long as it at most.
	if limit := basic.size + maxExtra + 20*long.Len(); size > limit {
		t.Errorf("the forms have %d bytes, want at most %d", size, limit)
	}
	if !short || !lines {
		t.Errorf("the short value has its quoted form: %v; the long one its lines: %v", short, lines)
	}
}
