package mask

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func named(name, value string) api.Bound {
	return api.Bound{Label: api.Label{ExposeAsEnv: name}, Value: api.NewValue([]byte(value))}
}

// masked returns the masked form of text, written in pieces of at most step bytes and flushed.
func masked(tb testing.TB, m *Masker, text string, step int) string {
	tb.Helper()
	var out bytes.Buffer
	w := m.Writer(&out)
	for p := range slices.Chunk([]byte(text), step) {
		if n, err := w.Write(p); n != len(p) || err != nil {
			tb.Fatalf("Write(%d bytes) = %d, %v", len(p), n, err)
		}
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

func TestMaskLabels(t *testing.T) {
	for _, tc := range []struct {
		name    string
		secrets []api.Bound
		in      string
		want    string
	}{
		{"no secret", nil, "hello", "hello"},
		{"nothing to mask", []api.Bound{named("A", "secret")}, "secre secrt ecret", "secre secrt ecret"},
		{"alone", []api.Bound{named("A", "secret")}, "secret", "[A]"},
		{"within", []api.Bound{named("A", "secret")}, "a secret.", "a [A]."},
		{"twice", []api.Bound{named("A", "secret")}, "secretsecret", "[A][A]"},
		{"start of itself before it", []api.Bound{named("A", "secret")}, "secsecret", "sec[A]"},
		{"two that touch", []api.Bound{named("A", "secret"), named("B", "password")}, "secretpassword", "[A][B]"},
		{"two that overlap", []api.Bound{named("A", "abcdefgh"), named("B", "efghijkl")}, "abcdefghijkl", "[A]"},
		{"chain that overlaps", []api.Bound{named("A", "abcdefgh"), named("B", "ghijklmn"), named("C", "mnopqrst")}, "-abcdefghijklmnopqrst-", "-[A]-"},
		{"one within another", []api.Bound{named("A", "secret"), named("B", "my secret word")}, "my secret word, my secret", "[B], my [A]"},
		{"one starts another", []api.Bound{named("A", "secret"), named("B", "secret word")}, "secret word, secret wor", "[B], [A] wor"},
		{"one ends another", []api.Bound{named("A", "secret"), named("B", "my secret")}, "my secret, secret", "[B], [A]"},
		{"long one covers many", []api.Bound{named("A", "secret"), named("B", "secret-secret-secret")}, "secret-secret-secret secret-secret", "[B] [A]-[A]"},
		{"same value twice", []api.Bound{named("A", "secret"), named("B", "secret")}, "secret", "[A]"},
		{"periodic", []api.Bound{named("A", "aaaaaa")}, "aaaaa aaaaaa aaaaaaaaaaaaaaaa", "aaaaa [A] [A]"},
		{"periodic by two", []api.Bound{named("A", "abababab")}, "xabababababy", "x[A]y"},
		{"short and empty", []api.Bound{named("A", ""), named("B", "12345"), named("C", "123456")}, "12345 123456", "12345 [C]"},
		{"lines on a terminal", []api.Bound{named("A", "line one\nline two")}, "line one\r\nline two\r\n", "[A]\r\n"},
		{"a line of it", []api.Bound{named("A", "first-line\nsecond-line\n")}, "log: first-line\nlog: second-line\nlog: 1234567", "log: [A]\nlog: [A]\nlog: 1234567"},
		{"all lines of it", []api.Bound{named("A", "first-line\nsecond-line\n")}, "first-line\nsecond-line\nfirst-line\nsecond-", "[A][A]\nsecond-"},
		{"lines on one line", []api.Bound{named("A", "{\n  first-line\n  2\n}\n")}, "{ first-line 2 }", "[A]"},
		{"lines with other indentation", []api.Bound{named("A", "k:\n  first-line\n  1234567\n")}, "    k:\n      first-line\n", "    k:\n      [A]\n"},
		{"lines with CRLF", []api.Bound{named("A", "first-line\r\nsecond-line")}, "first-line\nsecond-line", "[A]\n[A]"},
		{"a line and a value", []api.Bound{named("A", "first-line\nsecond-line"), named("B", "second-line")}, "first-line, second-line", "[A], [B]"},
		{"white space around it dropped", []api.Bound{named("A", "  secret \t\n")}, "<secret>  secret \t\n", "<[A]>[A]"},
		{"a line encoded", []api.Bound{named("A", "first-line\nit's <a line>")}, "Zmlyc3QtbGluZQ== 66697273742d6c696e65 it&#39;s &lt;a line&gt; 'it'\\''s <a line>'", "[A] [A] [A] '[A]'"},
		{"last line break dropped", []api.Bound{named("A", "secret\n")}, "<secret> secret\n", "<[A]> [A]"},
		{"NUL and bytes over 127", []api.Bound{named("A", "\x00\xff\x80\x00\xff\x80")}, "\x00\xff\x80\x00\xff\x80\x00", "[A]\x00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := New(tc.secrets)
			for step := 1; step <= len(tc.in); step++ {
				if diff := cmp.Diff(tc.want, masked(t, m, tc.in, step)); diff != "" {
					t.Fatalf("in pieces of %d bytes (-want +got):\n%s", step, diff)
				}
			}
		})
	}
}

func TestMaskShort(t *testing.T) {
	_, got := New([]api.Bound{
		named("EMPTY", ""), named("ONE", "1"), named("FIVE", "12345"), named("SIX", "123456"),
	})
	if diff := cmp.Diff([]string{"ONE", "FIVE"}, got); diff != "" {
		t.Errorf("short (-want +got):\n%s", diff)
	}
}

// TestMaskHolds checks that after each write, exactly the longest end of the stream that is the start of a form, but
// not a whole one, is held back.
func TestMaskHolds(t *testing.T) {
	secrets := []api.Bound{named("A", "abcabcabd"), named("B", "password-1"), named("C", "cabcab"), named("D", "abcabd")}
	m, _ := New(secrets)
	patterns := formsOf(secrets)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		w := m.Writer(io.Discard)
		var text []byte
		for range 60 {
			text = append(text, "abcd"[rnd.IntN(4)])
			if rnd.IntN(10) == 0 {
				value := secrets[rnd.IntN(len(secrets))].Value.Reveal()
				text = append(text, value[:rnd.IntN(len(value)+1)]...)
			}
			if _, err := w.Write(text[w.end():]); err != nil {
				t.Fatal(err)
			}
			want := 0
			for _, p := range patterns {
				for n := min(len(p.text)-1, len(text)); n > want; n-- {
					if strings.HasSuffix(string(text), p.text[:n]) {
						want = n
					}
				}
			}
			if got := w.end() - w.given; got != int64(want) {
				t.Fatalf("after %q: %d bytes held back, want %d", text, got, want)
			}
		}
	}
}

func TestMaskPromptAtOnce(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "hunter2-hunter2"), named("B", "postgres://u:p@h/db")})
	var out bytes.Buffer
	w := m.Writer(&out)
	for _, step := range []struct{ in, want string }{
		{"Password: ", "Password: "},
		{"hunter2-hunter", "Password: "},
		{"2", "Password: [A]"},
		{"\r\n$ ", "Password: [A]\r\n$ "},
	} {
		if _, err := io.WriteString(w, step.in); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, out.String()); diff != "" {
			t.Fatalf("after %q (-want +got):\n%s", step.in, diff)
		}
	}
}

func TestMaskRelease(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "secret word"), named("B", "wordlist"), named("C", "aaabcd")})
	for _, tc := range []struct {
		name string
		in   []string // released after each
		want []string // all of the output, then
	}{
		{"letter by letter", []string{"s", "e", "a"}, []string{"s", "se", "sea"}},
		{"secret all the same", []string{"se", "cret word."}, []string{"se", "se[A]."}},
		{"three bytes of it", []string{"sec", "ret word."}, []string{"", "[A]."}},
		{"too much held", []string{"secret", " wor", "d"}, []string{"", "", "[A]"}},
		{"grown over it", []string{"secret word", "list"}, []string{"[A]", "[A]"}},
		{"not grown over it", []string{"secret word", "lis", "-"}, []string{"[A]", "[A]", "[A]lis-"}},
		{"the same letter", []string{"aa", "aabcd."}, []string{"aa", "aa[C]."}},
		{"between two writes", []string{"se", "cret wor", "dlist!"}, []string{"se", "se", "se[A]!"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			w := m.Writer(&out)
			var got []string
			for _, in := range tc.in {
				if _, err := io.WriteString(w, in); err != nil {
					t.Fatal(err)
				}
				if err := w.Release(); err != nil {
					t.Fatal(err)
				}
				got = append(got, out.String())
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(got[len(got)-1], out.String()); diff != "" {
				t.Errorf("flush after release (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSetMasker checks that SetMasker masks new values from the next byte on, including in bytes held back, and that
// values known before stay masked, also across the call.
func TestSetMasker(t *testing.T) {
	before := []api.Bound{named("A", "first secret"), named("A", "secretary")}
	after := append(slices.Clone(before), named("B", "second"), named("B", "cret agent"))
	for _, tc := range []struct {
		name     string
		in, more string
		want     string
	}{
		{"both", "first secret second ", "first secret second", "[A] second [A] [B]"},
		{"old one across", "x first se", "cret y", "x [A] y"},
		{"new one across", "x sec", "ond y", "x [B] y"},
		{"held back for the old one, is the new one's", "x secre", "t agent y", "x se[B] y"},
		{"overlapping across", "first secret", "ary y", "[A] y"},
		{"overlapping and broken off", "first secret", "arz y", "[A]arz y"},
		{"nothing held", "abc", "second", "abc[B]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old, _ := New(before)
			now, _ := New(after)
			var out bytes.Buffer
			w := old.Writer(&out)
			_, err := io.WriteString(w, tc.in)
			w.SetMasker(now)
			_, more := io.WriteString(w, tc.more)
			if err := errors.Join(err, more, w.Flush()); err != nil {
				t.Fatal(err)
			}
			if out.String() != tc.want {
				t.Errorf("%q and %q gave %q, want %q", tc.in, tc.more, out.String(), tc.want)
			}
		})
	}
	t.Run("from nothing", func(t *testing.T) {
		nothing, _ := New(nil)
		now, _ := New(after)
		var out bytes.Buffer
		w := nothing.Writer(&out)
		_, err := io.WriteString(w, "second ")
		w.SetMasker(now)
		_, more := io.WriteString(w, "second")
		if err := errors.Join(err, more, w.Flush()); err != nil || out.String() != "second [B]" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
}

func TestMaskAfterFlush(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "secret")})
	var out bytes.Buffer
	w := m.Writer(&out)
	for _, in := range []string{"sec", "ret secret sec", "ret"} {
		if _, err := io.WriteString(w, in); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff("secret [A] secret", out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// fullAfter accepts left bytes, then fails.
type fullAfter struct {
	left int
	err  error // nil: a short write without an error
	got  bytes.Buffer
}

func (f *fullAfter) Write(p []byte) (int, error) {
	if len(p) <= f.left {
		f.left -= len(p)
		return f.got.Write(p)
	}
	n, _ := f.got.Write(p[:f.left])
	f.left = 0
	return n, f.err
}

func TestMaskWriteError(t *testing.T) {
	m, _ := New([]api.Bound{named("LABEL", "secret"), named("B", "secrecy")})
	const in = "one secret, two secretsecrecy: thr"
	const out = "one [LABEL], two [LABEL][B]: thr"
	full := errors.New("disk full")
	// takes[n] is how many bytes of the input the first n bytes of the output stand for.
	takes := []int{0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 22, 22, 22, 29, 30, 31, 32, 33, 34}
	if len(takes) != len(out)+1 {
		t.Fatalf("%d lengths listed, want %d", len(takes), len(out)+1)
	}
	for _, cause := range []error{full, nil} {
		want := cause
		if cause == nil {
			want = io.ErrShortWrite
		}
		for left := range len(out) {
			for step := 1; step <= len(in); step++ {
				to := &fullAfter{left: left, err: cause}
				w := m.Writer(to)
				sum := 0
				var err error
				for p := range slices.Chunk([]byte(in), step) {
					var n int
					if n, err = w.Write(p); err != nil {
						sum += n
						break
					}
					sum += len(p)
				}
				if !errors.Is(err, want) {
					t.Fatalf("full after %d, pieces of %d: error %v, want %v", left, step, err, want)
				}
				// Bytes of earlier calls may have been accepted and held back.
				if held := max(0, (sum/step)*step-takes[left]); sum != takes[left] && (sum%step != 0 || held > len("secrec")) {
					t.Fatalf("full after %d, pieces of %d: took %d, want %d", left, step, sum, takes[left])
				}
				if diff := cmp.Diff(out[:left], to.got.String()); diff != "" {
					t.Fatalf("full after %d, pieces of %d (-want +got):\n%s", left, step, diff)
				}
				if n, err := w.Write([]byte("more")); n != 0 || !errors.Is(err, want) {
					t.Fatalf("next Write = %d, %v", n, err)
				}
				if err := w.Flush(); !errors.Is(err, want) {
					t.Fatalf("Flush = %v", err)
				}
			}
		}
	}
}

func TestMaskSharedByWriters(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "secret")})
	t.Run("group", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				text := strings.Repeat("a secret and ", 10_000)
				want := strings.Repeat("a [A] and ", 10_000)
				if got := masked(t, m, text, 100+i); got != want {
					t.Error("output differs")
				}
			})
		}
	})
}

// TestMaskLongValues masks values of the maximum length of an environment variable. Some are hostile: one byte
// repeated, or almost matched by much of the text.
func TestMaskLongValues(t *testing.T) {
	const size = 128 << 10
	for _, tc := range []struct {
		name   string
		secret string
		in     string
		want   string
	}{
		{"one byte throughout", strings.Repeat("a", size), strings.Repeat("a", 3*size), "[A]"},
		{"almost", strings.Repeat("a", size-1) + "b", strings.Repeat("a", 3*size), strings.Repeat("a", 3*size)},
		{"at last", strings.Repeat("a", size-1) + "b", strings.Repeat("a", 2*size-1) + "b", strings.Repeat("a", size) + "[A]"},
		{"many lines", strings.Repeat("line\n", size/5), strings.Repeat("line\r\n", size/5) + "$ ", "[A]$ "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := New([]api.Bound{named("A", tc.secret)})
			for _, step := range []int{1, 4096, len(tc.in)} {
				got := masked(t, m, tc.in, step)
				if got != tc.want {
					t.Fatalf("in pieces of %d bytes: got %d bytes, want %d", step, len(got), len(tc.want))
				}
			}
		})
	}
}

func TestMaskWriteAllocatesNothing(t *testing.T) {
	m, _ := New([]api.Bound{named("A", "secret-of-some-length"), named("B", strings.Repeat("ab", 500)+"c")})
	w := m.Writer(io.Discard)
	text := []byte("a line with a secret-of-some-length in it\n" + strings.Repeat("ab", 300) + "secret-of")
	write := func() {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		write()
	}
	if n := testing.AllocsPerRun(1000, write); n != 0 {
		t.Errorf("%v allocations a Write, want 0", n)
	}
}
