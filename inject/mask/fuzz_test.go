package mask

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/mask/forms"
)

type labelledForm struct {
	text  string
	label string
	place int // order of the secret
}

// formsOf returns the forms that a Masker of the secrets looks for.
func formsOf(secrets []api.Bound) []labelledForm {
	var all []labelledForm
	for i, s := range secrets {
		for _, f := range forms.Of([]string{s.Value.Reveal()}) {
			place := i
			if f.Part {
				place += len(secrets) // what is a value as a whole comes before lines of others
			}
			all = append(all, labelledForm{f.Text, "[" + s.ExposeAsEnv + "]", place})
		}
	}
	return all
}

// maskSlowly defines masking, without regard to speed: it finds every occurrence of every form, merges those that
// overlap, and labels them by the first and longest one.
func maskSlowly(secrets []api.Bound, text string) string {
	type found struct {
		start, end int
		labelledForm
	}
	var all []found
	for _, f := range formsOf(secrets) {
		for from := 0; ; {
			i := strings.Index(text[from:], f.text)
			if i < 0 {
				break
			}
			all = append(all, found{from + i, from + i + len(f.text), f})
			from += i + 1
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.start-b.start, b.end-a.end, a.place-b.place)
	})
	var out strings.Builder
	at := 0
	for i := 0; i < len(all); {
		end := all[i].end
		out.WriteString(text[at:all[i].start] + all[i].label)
		for i++; i < len(all) && all[i].start < end; i++ {
			end = max(end, all[i].end)
		}
		at = end
	}
	return out.String() + text[at:]
}

// maskSeed has secrets, one per line, and a text. Bytes below 32 in the text stand for forms, as in maskCase.
type maskSeed struct{ secrets, text string }

var maskSeeds = []maskSeed{
	{"secret", "a secret, secsecret, secretsecret, secre"},
	{"secret\nsecretsecret\ncretse", "secretsecretsecretsecret"},
	{"aaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
	{"aaaaaa\naaaaaaaaab\nbaaaaa", "aaaaaaaaaaaaaabaaaaaaaaaabbaaaab"},
	{"abababab\nbababa", "abababababababaabababb"},
	{"abcdefgh\nefghijkl\nijklmnop", "abcdefghijklmnop efghijklmnop"},
	{"p@ss/w\"rd <&> +x", "\x00 \x01 \x02 \x03 \x04 \x05 \x06 \x07 \x08 \x09 \x0a \x0b"},
	{"k\u00e9y-\u2028-\U0001f511", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"},
	{"123456\n12345\n1234567", "1234567123456712345"},
	{"c2VjcmV0\nsecret", "c2VjcmV0 YzJWamNtVjA= \x03\x04\x05"},
	{"it's <a> \"b\" \\ $c", "'\x00' '\x05' '\x07' '\x09' '\x0b' '\x0d' '\x0f' '\x11' '\x13'"},
	{"first-line\rsecond-line\r  third-line\r", "\x00 first-line second-line\nthird-line \x01\x02\x03\x04\x05\x06\x07 first-line\rsecond-line\r  third-lin"},
	{"first-line\rsecond-line\nsecond-line\rthird-line", "first-line\rsecond-line\rthird-line second-line\r \x05 \x0a"},
}

// maskCase makes secrets and a text from fuzzed bytes. Bytes below 32 in the text stand for forms of the secrets, so
// that the fuzzer produces them.
func maskCase(lines, text string) ([]api.Bound, string) {
	var secrets []api.Bound
	for i, line := range strings.SplitN(lines, "\n", 6) {
		secrets = append(secrets, named(string(rune('A'+i)), line[:min(len(line), 40)]))
	}
	forms := formsOf(secrets)
	var b strings.Builder
	for _, c := range []byte(text[:min(len(text), 400)]) {
		if int(c) < 32 && len(forms) > 0 {
			b.WriteString(forms[int(c)*7%len(forms)].text)
		} else {
			b.WriteByte(c)
		}
	}
	return secrets, b.String()
}

func FuzzMaskReference(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range maskSeeds {
		f.Add(s.secrets, s.text)
	}
	f.Fuzz(func(t *testing.T, lines, text string) {
		secrets, text := maskCase(lines, text)
		m, _ := New(secrets)
		want := maskSlowly(secrets, text)
		for _, step := range []int{max(1, len(text)), 1, 7} {
			if got := masked(t, m, text, step); got != want {
				t.Fatalf("%q in pieces of %d bytes:\ngot  %q\nwant %q", text, step, got, want)
			}
		}
	})
}

func FuzzMaskChunking(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for i, s := range maskSeeds {
		f.Add(s.secrets, s.text, bytes.Repeat([]byte{byte(i), 1, 5}, i+1))
	}
	f.Fuzz(func(t *testing.T, lines, text string, cuts []byte) {
		secrets, text := maskCase(lines, text)
		m, _ := New(secrets)
		want := masked(t, m, text, max(1, len(text)))
		var out bytes.Buffer
		w := m.Writer(&out)
		rest := []byte(text)
		for _, cut := range cuts {
			n := min(int(cut), len(rest))
			if taken, err := w.Write(rest[:n]); taken != n || err != nil {
				t.Fatalf("Write(%d bytes) = %d, %v", n, taken, err)
			}
			rest = rest[n:]
		}
		if _, err := w.Write(rest); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Fatalf("%q cut by %v:\ngot  %q\nwant %q", text, cuts, out.String(), want)
		}
	})
}

// FuzzSetMasker checks that a change to a masker with more secrets, at any point of the stream, does not affect how
// the first secrets are masked.
func FuzzSetMasker(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for i, s := range maskSeeds {
		f.Add(s.secrets, s.text, byte(i))
	}
	f.Fuzz(func(t *testing.T, lines, text string, cut byte) {
		secrets, text := maskCase(lines, text)
		m, _ := New(secrets)
		same, _ := New(append(slices.Clone(secrets), api.Bound{Label: api.Label{ExposeAsEnv: "NOWHERE"}, Value: api.NewValue([]byte("\x00 in no text \x00"))}))
		var out bytes.Buffer
		w := m.Writer(&out)
		at := min(int(cut), len(text))
		_, err := io.WriteString(w, text[:at])
		w.SetMasker(same)
		_, more := io.WriteString(w, text[at:])
		if err := errors.Join(err, more, w.Flush()); err != nil {
			t.Fatal(err)
		}
		if want := maskSlowly(secrets, text); out.String() != want {
			t.Fatalf("%q cut at %d:\ngot  %q\nwant %q", text, at, out.String(), want)
		}
	})
}

// FuzzMaskRelease calls Release after every piece, which may show at most the first 2 bytes of an occurrence. It checks
// that each occurrence is still labelled.
func FuzzMaskRelease(f *testing.F) {
	if len(maskSeeds) == 0 {
		f.Fatal("no seeds")
	}
	for i, s := range maskSeeds {
		f.Add(s.secrets, s.text, bytes.Repeat([]byte{byte(i), 1, 5}, i+1))
	}
	f.Fuzz(func(t *testing.T, lines, text string, cuts []byte) {
		secrets, text := maskCase(lines, text)
		m, _ := New(secrets)
		var out bytes.Buffer
		w := m.Writer(&out)
		rest := []byte(text)
		for len(rest) > 0 {
			n := len(rest)
			if len(cuts) > 0 {
				n, cuts = min(int(cuts[0]), n), cuts[1:]
			}
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if err := w.Release(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(out.String(), "["), strings.Count(maskSlowly(secrets, text), "["); got < want {
			t.Fatalf("%q: %d labels or fewer in %q, want %d", text, got, out.String(), want)
		}
	})
}
