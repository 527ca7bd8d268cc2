package mask

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/mask/forms"
)

// occurrences returns the start and end of every occurrence of every form of values.
func occurrences(values []string, text string) (all [][2]int) {
	for _, f := range forms.Of(values) {
		for from := 0; ; {
			i := strings.Index(text[from:], f.Text)
			if i < 0 {
				break
			}
			all = append(all, [2]int{from + i, from + i + len(f.Text)})
			from += i + 1
		}
	}
	return all
}

// blanked blanks text in pieces that end at the cuts, and calls Release after each if release is set. It also returns how
// many bytes were shown before the end.
func blanked(m *Masker, text string, cuts []int, release bool) (string, int) {
	b := m.Blanker()
	var out, held []byte
	at := 0
	for _, cut := range append(slices.Clone(cuts), len(text)) {
		piece := append(slices.Clone(held), text[at:cut]...)
		at = cut
		settled := b.Blank(piece)
		if release && b.Release(piece[settled:]) {
			settled = len(piece)
		}
		out = append(out, piece[:settled]...)
		held = piece[settled:]
	}
	shown := len(out)
	b.Flush(held, false)
	return string(append(out, held...)), shown
}

func valuesOf(lines string) []string {
	var values []string
	for _, s := range strings.SplitN(lines, "\n", 6) {
		values = append(values, s[:min(len(s), 40)])
	}
	return values
}

func FuzzBlank(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for i, s := range maskSeeds {
		f.Add(s.secrets, s.text, bytes.Repeat([]byte{byte(i), 1, 5}, i+1))
	}
	f.Fuzz(func(t *testing.T, lines, text string, steps []byte) {
		secrets, text := maskCase(lines, text)
		m, _ := New(secrets)
		found, expected := occurrences(valuesOf(lines), text), []byte(text)
		for _, at := range found {
			fill(expected[at[0]:at[1]])
		}
		want := string(expected)
		if got := m.Blank(text); got != want {
			t.Fatalf("%q:\ngot  %q\nwant %q", text, got, want)
		}
		var cuts []int
		at := 0
		for _, n := range steps {
			at = min(at+int(n), len(text))
			cuts = append(cuts, at)
		}
		if got, _ := blanked(m, text, cuts, false); got != want {
			t.Fatalf("%q cut at %v:\ngot  %q\nwant %q", text, cuts, got, want)
		}
		// Release may show the first two bytes of an occurrence.
		got, _ := blanked(m, text, cuts, true)
		for _, at := range found {
			if strings.Trim(got[min(at[0]+maxReleased, at[1]):at[1]], "*") != "" {
				t.Fatalf("%q cut at %v with releases: %q", text, cuts, got)
			}
		}
		for i := range want {
			if got[i] != want[i] && got[i] != text[i] {
				t.Fatalf("%q cut at %v with releases: %q", text, cuts, got)
			}
		}
	})
}

// A value split at any byte, or arriving byte by byte, is overwritten; what can't be a part of it isn't held back.
func TestBlankSplits(t *testing.T) {
	secret := named("A", "s3cret-value")
	m, _ := New([]api.Bound{secret})
	text := "data: {\"a\": \"s3cret-value\"}\n\ndata: s3cret-val\n\n"
	want := "data: {\"a\": \"************\"}\n\ndata: s3cret-val\n\n"
	var all []int
	for cut := range len(text) {
		if got, _ := blanked(m, text, []int{cut}, false); got != want {
			t.Errorf("cut at %d: %q", cut, got)
		}
		if got, shown := blanked(m, text[:cut], nil, false); strings.HasSuffix(got, "\n") && shown != cut {
			t.Errorf("after %q, %d bytes are held back", got, cut-shown)
		}
		all = append(all, cut)
	}
	for cut := range len(text) {
		got, _ := blanked(m, text, []int{cut}, true)
		if shown := strings.ReplaceAll(strings.ReplaceAll(got, "s3**********", "************"), "s***********", "************"); shown != want {
			t.Errorf("cut at %d, released: %q", cut, got)
		}
	}
	if got, _ := blanked(m, text, all, false); got != want {
		t.Errorf("by byte: %q", got)
	}
	if got, _ := blanked(m, text, all, true); got != strings.ReplaceAll(want, "************", "s3**********") {
		t.Errorf("by byte, released: %q", got)
	}
	b := m.Blanker()
	part := []byte("x s3cret-val")
	settled := b.Blank(part)
	b.Flush(part[settled:], true)
	if string(part) != "x **********" {
		t.Errorf("the last part of a stream is %q", part)
	}
}

func BenchmarkBlank(b *testing.B) {
	m, _ := New(benchSecrets(2))
	text := []byte(strings.Repeat(benchLine, (1<<20)/len(benchLine)))
	blanker := m.Blanker()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for at := 0; at+32<<10 <= len(text); at += 32 << 10 {
			blanker.Blank(text[at : at+32<<10])
			blanker.Flush(nil, false)
		}
	}
}

const benchLine = "2026-01-02T15:04:05Z INFO request id=7f3a9c path=/api/v1/items/17 status=200 took=31ms\n"

// A message that ends with a value is released as a whole, though the end of the value may be the start of another one.
func TestBlankReleasesValues(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "password1-password1")})
	const text = "you sent password1-password1"
	got, shown := blanked(m, text, nil, true)
	if want := "you sent *******************"; got != want || shown != len(text) {
		t.Errorf("%d bytes of %q are shown", shown, got)
	}
	// What continues as another value is overwritten too.
	if got, _ := blanked(m, text+"-password1 and more", []int{len(text)}, true); got != "you sent ***************************** and more" {
		t.Errorf("got %q", got)
	}
}
