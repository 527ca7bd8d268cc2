package api_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

func opener(t testing.TB, r api.Resource) *api.Opener {
	t.Helper()
	o, err := api.NewOpener(r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func seal(t testing.TB, r api.Resource, to api.Recipient, set []api.Bound) api.RevealAnswer {
	t.Helper()
	a, err := api.Seal(r, to, set)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSealOpen(t *testing.T) {
	for _, tt := range []struct {
		name     string
		resource api.Resource
		set      []api.Bound
	}{
		{"nothing bound", sandbox, nil},
		{"one", sandbox, bound(1)},
		{"a computer", api.Resource{Type: api.Computer, ID: "c_1"}, bound(2)},
		{"odd", sandbox, oddSet()},
		{"many", sandbox, bound(500)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := opener(t, tt.resource)
			// Encode and decode: the opener must not need fields that are not in the JSON.
			text, err := json.Marshal(seal(t, tt.resource, o.Recipient(), tt.set))
			if err != nil {
				t.Fatal(err)
			}
			var a api.RevealAnswer
			if err := json.Unmarshal(text, &a); err != nil {
				t.Fatal(err)
			}
			got, err := o.Open(a)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(flatten(got.Bound), flatten(tt.set)); diff != "" {
				t.Errorf("set (-got +want):\n%s", diff)
			}
			if got.Resource != tt.resource || got.Etag != a.Etag || got.Etag == "" {
				t.Errorf("resource %v, etag %q", got.Resource, got.Etag)
			}
			for _, b := range tt.set {
				if v := b.Value.Reveal(); len(v) > 6 && (bytes.Contains(text, []byte(v)) || bytes.Contains(a.Sealed, []byte(v))) {
					t.Error("the response contains a value in plaintext")
				}
			}
		})
	}
}

// Any modification in transit is detected, and Open returns no value.
func TestOpenRefusesTampering(t *testing.T) {
	const enc, tag = 1120, 16
	set := bound(3) // values of 7 bytes each, at the end
	value := func(a *api.RevealAnswer, i int) []byte {
		at := len(a.Sealed) - tag - 7*(3-i)
		return a.Sealed[at : at+7]
	}
	for name, change := range map[string]func(a *api.RevealAnswer){
		"two values swapped": func(a *api.RevealAnswer) { slices.Reverse(a.Sealed[len(a.Sealed)-tag-14 : len(a.Sealed)-tag]) },
		"one value repeated": func(a *api.RevealAnswer) { copy(value(a, 1), value(a, 0)) },
		"a value flipped":    func(a *api.RevealAnswer) { value(a, 2)[6] ^= 1 },
		"the header flipped": func(a *api.RevealAnswer) { a.Sealed[enc+20] ^= 1 },
		"last value dropped": func(a *api.RevealAnswer) { a.Sealed = slices.Delete(a.Sealed, len(a.Sealed)-tag-7, len(a.Sealed)-tag) },
		"first value dropped": func(a *api.RevealAnswer) {
			a.Sealed = slices.Delete(a.Sealed, len(a.Sealed)-tag-21, len(a.Sealed)-tag-14)
		},
		"a value added":         func(a *api.RevealAnswer) { a.Sealed = slices.Insert(a.Sealed, len(a.Sealed)-tag, value(a, 0)...) },
		"everything dropped":    func(a *api.RevealAnswer) { a.Sealed = slices.Delete(a.Sealed, enc, len(a.Sealed)-tag) },
		"the tag flipped":       func(a *api.RevealAnswer) { a.Sealed[len(a.Sealed)-1] ^= 1 },
		"the tag cut":           func(a *api.RevealAnswer) { a.Sealed = a.Sealed[:len(a.Sealed)-tag] },
		"the end cut":           func(a *api.RevealAnswer) { a.Sealed = a.Sealed[:len(a.Sealed)-1] },
		"the start cut":         func(a *api.RevealAnswer) { a.Sealed = a.Sealed[1:] },
		"more behind":           func(a *api.RevealAnswer) { a.Sealed = append(a.Sealed, 0) },
		"the key flipped":       func(a *api.RevealAnswer) { a.Sealed[0] ^= 1 },
		"the key's end flipped": func(a *api.RevealAnswer) { a.Sealed[enc-1] ^= 1 },
		"only the key":          func(a *api.RevealAnswer) { a.Sealed = a.Sealed[:enc] },
		"half the key":          func(a *api.RevealAnswer) { a.Sealed = a.Sealed[:enc/2] },
		"nothing sealed":        func(a *api.RevealAnswer) { a.Sealed = nil },
		"another answer's ciphertext": func(a *api.RevealAnswer) {
			a.Sealed = slices.Concat(a.Sealed[:enc], seal(t, sandbox, opener(t, sandbox).Recipient(), set).Sealed[enc:])
		},
		"etag":                func(a *api.RevealAnswer) { a.Etag += "x" },
		"etag emptied":        func(a *api.RevealAnswer) { a.Etag = "" },
		"suite never offered": func(a *api.RevealAnswer) { a.Suite = "x25519" },
		"suite plain":         func(a *api.RevealAnswer) { a.Suite = "none" },
		"suite emptied":       func(a *api.RevealAnswer) { a.Suite = "" },
		"suite very long":     func(a *api.RevealAnswer) { a.Suite = strings.Repeat("s", 1<<20) },
		"an old answer, sealed to another key pair": func(a *api.RevealAnswer) {
			*a = seal(t, sandbox, opener(t, sandbox).Recipient(), set)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := opener(t, sandbox)
			a := seal(t, sandbox, o.Recipient(), set)
			change(&a)
			got, err := o.Open(a)
			if !errors.Is(err, api.ErrTampered) {
				t.Errorf("error %v, want %v", err, api.ErrTampered)
			}
			if got.Etag != "" || got.Bound != nil {
				t.Error("values of a refused response were returned")
			}
			if err != nil && len(err.Error()) > 300 {
				t.Error("the error is as long as the peer's response")
			}
		})
	}
}

// TestOpenRefusesEveryFlip flips each bit of the sealed bytes.
func TestOpenRefusesEveryFlip(t *testing.T) {
	o := opener(t, sandbox)
	a := seal(t, sandbox, o.Recipient(), bound(1))
	for i := range a.Sealed {
		a.Sealed[i] ^= 0x10
		if _, err := o.Open(a); !errors.Is(err, api.ErrTampered) {
			t.Fatalf("byte %d of %d flipped: error %v", i, len(a.Sealed), err)
		}
		a.Sealed[i] ^= 0x10
	}
	if _, err := o.Open(a); err != nil {
		t.Errorf("unmodified: %v", err)
	}
}

func TestOpenRefusesAnotherResource(t *testing.T) {
	for _, other := range []api.Resource{{Type: api.Sandbox, ID: "sb_2"}, {Type: api.Computer, ID: "sb_1"}, {Type: api.Sandbox, ID: "sb_"}} {
		t.Run(other.String(), func(t *testing.T) {
			o := opener(t, sandbox)
			if _, err := o.Open(seal(t, other, o.Recipient(), bound(2))); !errors.Is(err, api.ErrTampered) {
				t.Errorf("error %v, want %v", err, api.ErrTampered)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	good := opener(t, sandbox).Recipient()
	for _, tt := range []struct {
		name string
		to   api.Recipient
	}{
		{"no suite", api.Recipient{PublicKey: good.PublicKey}},
		{"another suite", api.Recipient{Suite: "x25519", PublicKey: good.PublicKey}},
		{"no key", api.Recipient{Suite: api.SuiteXWing}},
		{"a short key", api.Recipient{Suite: api.SuiteXWing, PublicKey: good.PublicKey[1:]}},
		{"a long key", api.Recipient{Suite: api.SuiteXWing, PublicKey: append(slices.Clone(good.PublicKey), 0)}},
		{"a key that is no point of the lattice", api.Recipient{Suite: api.SuiteXWing, PublicKey: bytes.Repeat([]byte{0xff}, len(good.PublicKey))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := api.Seal(sandbox, tt.to, bound(1))
			if !errors.Is(err, api.ErrInvalid) || a.Sealed != nil {
				t.Errorf("error %v, want %v", err, api.ErrInvalid)
			}
		})
	}
}

// A recipient is valid if HPKE accepts its key.
func TestRecipientValidate(t *testing.T) {
	good := opener(t, sandbox).Recipient()
	check := func(name string, to api.Recipient) {
		t.Helper()
		_, want := hpke.MLKEM768X25519().NewPublicKey(to.PublicKey)
		invalid := want != nil || to.Suite != api.SuiteXWing
		if got := to.Validate(); errors.Is(got, api.ErrInvalid) != invalid || got != nil && !invalid {
			t.Errorf("%s: %v, HPKE's error is %v", name, got, want)
		}
	}
	check("good", good)
	check("no suite", api.Recipient{PublicKey: good.PublicKey})
	check("no key", api.Recipient{Suite: api.SuiteXWing})
	check("short", api.Recipient{Suite: api.SuiteXWing, PublicKey: good.PublicKey[1:]})
	check("long", api.Recipient{Suite: api.SuiteXWing, PublicKey: append(slices.Clone(good.PublicKey), 0)})
	check("ones", api.Recipient{Suite: api.SuiteXWing, PublicKey: bytes.Repeat([]byte{0xff}, len(good.PublicKey))})
	check("zeros", api.Recipient{Suite: api.SuiteXWing, PublicKey: make([]byte, len(good.PublicKey))})
	const numbers, modulus = 768, 3329
	for i := range numbers {
		for _, n := range []uint16{0, modulus - 1, modulus, 0xfff} {
			to := api.Recipient{Suite: api.SuiteXWing, PublicKey: slices.Clone(good.PublicKey)}
			if at := to.PublicKey[i/2*3:]; i%2 == 0 {
				at[0], at[1] = byte(n), at[1]&0xf0|byte(n>>8)
			} else {
				at[1], at[2] = at[1]&0xf|byte(n<<4), byte(n>>4)
			}
			check(fmt.Sprintf("number %d is %d", i, n), to)
		}
	}
}

// Requests never share a key pair, and sealing the same set twice gives different bytes.
func TestSealIsFresh(t *testing.T) {
	one, two := opener(t, sandbox), opener(t, sandbox)
	if bytes.Equal(one.Recipient().PublicKey, two.Recipient().PublicKey) {
		t.Error("two openers have the same key pair")
	}
	a, b := seal(t, sandbox, one.Recipient(), bound(1)), seal(t, sandbox, one.Recipient(), bound(1))
	if bytes.Equal(a.Sealed[:1120], b.Sealed[:1120]) || bytes.Equal(a.Sealed[1120:], b.Sealed[1120:]) {
		t.Error("sealing the same set twice gives the same bytes")
	}
	if a.Etag != b.Etag {
		t.Error("the same set has two etags")
	}
}

// FuzzOpen: opening a modified response returns the original set or an error.
func FuzzOpen(f *testing.F) {
	o := opener(f, sandbox)
	set := bound(2)
	a := seal(f, sandbox, o.Recipient(), set)
	text, err := json.Marshal(a)
	if err != nil {
		f.Fatal(err)
	}
	want := flatten(set)
	sealed := bytes.Index(text, []byte(`"sealed"`))
	f.Add(0, 0, []byte(nil))                      // unmodified
	f.Add(len(text)-1, 1, []byte(nil))            // cut
	f.Add(10, 1, []byte("x"))                     // a byte changed
	f.Add(sealed, 0, []byte(`"sealed":"",`))      // the last of two fields wins
	f.Add(len(text)-1, 0, []byte(`,"SEALED":""`)) // field names ignore case
	f.Add(sealed+20, 1, []byte(`\u0041`))
	f.Add(1, 0, []byte(`"suite":"none",`))
	f.Fuzz(func(t *testing.T, at, drop int, put []byte) {
		if at < 0 || at > len(text) || drop < 0 || drop > len(text)-at {
			t.Skip()
		}
		changed := slices.Concat(text[:at], put, text[at+drop:])
		var a api.RevealAnswer
		if json.Unmarshal(changed, &a) != nil {
			return
		}
		got, err := o.Open(a)
		if err != nil {
			if !errors.Is(err, api.ErrTampered) || got.Bound != nil {
				t.Fatalf("error %v with %d values", err, len(got.Bound))
			}
			return
		}
		if diff := cmp.Diff(flatten(got.Bound), want); diff != "" || got.Etag != a.Etag {
			t.Fatalf("a changed answer opens to something else (-got +want):\n%s", diff)
		}
	})
}

func BenchmarkNewOpener(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = opener(b, sandbox).Recipient()
	}
}

// BenchmarkOpen50 is the agent's part: create a key pair, open 50 values of 64 bytes.
func BenchmarkOpen50(b *testing.B) {
	set := bound(50)
	for i := range set {
		set[i].Value = api.NewValue(bytes.Repeat([]byte("v"), 64))
	}
	o := opener(b, sandbox)
	a := seal(b, sandbox, o.Recipient(), set)
	b.ReportAllocs()
	for b.Loop() {
		_ = opener(b, sandbox).Recipient()
		if _, err := o.Open(a); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSeal50 is the vault's part.
func BenchmarkSeal50(b *testing.B) {
	set := bound(50)
	to := opener(b, sandbox).Recipient()
	b.ReportAllocs()
	for b.Loop() {
		_ = seal(b, sandbox, to, set)
	}
}
