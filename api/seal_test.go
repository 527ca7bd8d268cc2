package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// bound makes a set of n values.
func bound(n int) []api.Bound {
	set := make([]api.Bound, n)
	for i := range set {
		set[i] = api.Bound{
			Label: api.Label{
				ID: fmt.Sprintf("bnd_%d", i), SecretID: fmt.Sprintf("sec_%d", i), ExposeAsEnv: fmt.Sprintf("NAME_%d", i),
				Version: int64(i + 1), Delivery: api.DeliverValue,
			},
			Value: api.NewValue(fmt.Appendf(nil, "value %d", i)),
		}
	}
	return set
}

// flat is a snapshot in a form that can be compared and printed.
type flat struct {
	Label   api.Label
	Content string
}

func flatten(set []api.Bound) []flat {
	out := []flat{}
	for _, b := range set {
		if b.ExpiresAt != nil {
			t := b.ExpiresAt.UTC()
			b.ExpiresAt = &t
		}
		out = append(out, flat{b.Label, b.Value.Reveal()})
	}
	return out
}

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
	expires := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600))
	odd := bound(3)
	odd[0].Value = api.NewValue(nil)
	odd[1].Value = api.NewValue(bytes.Repeat([]byte("x"), api.MaxValueBytes))
	odd[2].Value, odd[2].ExpiresAt, odd[2].Delivery = api.NewValue([]byte("é\n\"'$(x)")), &expires, api.DeliverPlaceholder
	for _, tt := range []struct {
		name     string
		resource api.Resource
		set      []api.Bound
	}{
		{"nothing bound", sandbox, nil},
		{"one", sandbox, bound(1)},
		{"a computer", api.Resource{Type: api.Computer, ID: "c_1"}, bound(2)},
		{"empty, largest, odd, expiring", sandbox, odd},
		{"many", sandbox, bound(500)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := opener(t, tt.resource)
			// Over the wire and back: what isn't in the JSON can't be needed.
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
				if v := b.Value.Reveal(); len(v) > 6 && bytes.Contains(text, []byte(v)) {
					t.Error("the answer holds a value in the clear")
				}
			}
		})
	}
}

// Every change that something on the way could make is refused, and whole: none of the values is given.
func TestOpenRefusesTampering(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	later := expires.Add(time.Nanosecond)
	changed := func(change func(a *api.RevealAnswer)) func(*testing.T, *api.RevealAnswer) {
		return func(_ *testing.T, a *api.RevealAnswer) { change(a) }
	}
	label := func(change func(l *api.Label)) func(*testing.T, *api.RevealAnswer) {
		return changed(func(a *api.RevealAnswer) { change(&a.Bindings[1].Label) })
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, a *api.RevealAnswer)
	}{
		{"two seals swapped", changed(func(a *api.RevealAnswer) {
			a.Bindings[0].Sealed, a.Bindings[1].Sealed = a.Bindings[1].Sealed, a.Bindings[0].Sealed
		})},
		{"two bindings reordered", changed(func(a *api.RevealAnswer) { a.Bindings[0], a.Bindings[1] = a.Bindings[1], a.Bindings[0] })},
		{"reversed", changed(func(a *api.RevealAnswer) { slices.Reverse(a.Bindings) })},
		{"first dropped", changed(func(a *api.RevealAnswer) { a.Bindings = a.Bindings[1:] })},
		{"last dropped", changed(func(a *api.RevealAnswer) { a.Bindings = a.Bindings[:len(a.Bindings)-1] })},
		{"all dropped", changed(func(a *api.RevealAnswer) { a.Bindings = nil })},
		{"one repeated", changed(func(a *api.RevealAnswer) { a.Bindings = append(a.Bindings, a.Bindings[0]) })},
		{"closing emptied", changed(func(a *api.RevealAnswer) { a.Closing = nil })},
		{"closing flipped", changed(func(a *api.RevealAnswer) { a.Closing[0] ^= 1 })},
		{"closing is a value's seal", changed(func(a *api.RevealAnswer) { a.Closing = a.Bindings[2].Sealed })},
		{"last value taken for the closing", changed(func(a *api.RevealAnswer) {
			a.Closing, a.Bindings = a.Bindings[2].Sealed, a.Bindings[:2]
		})},
		{"closing taken for a value", changed(func(a *api.RevealAnswer) {
			a.Bindings = append(a.Bindings, api.SealedBinding{Label: a.Bindings[0].Label, Sealed: a.Closing})
		})},
		{"id", label(func(l *api.Label) { l.ID = "bnd_9" })},
		{"secret id", label(func(l *api.Label) { l.SecretID = "sec_9" })},
		{"id and secret id exchanged", label(func(l *api.Label) { l.ID, l.SecretID = l.SecretID, l.ID })},
		{"a letter moved between ids", label(func(l *api.Label) { l.ID, l.SecretID = l.ID+l.SecretID[:1], l.SecretID[1:] })},
		{"env name", label(func(l *api.Label) { l.ExposeAsEnv = "LD_PRELOAD" })},
		{"env name's case", label(func(l *api.Label) { l.ExposeAsEnv = strings.ToLower(l.ExposeAsEnv) })},
		{"version up", label(func(l *api.Label) { l.Version++ })},
		{"version down", label(func(l *api.Label) { l.Version-- })},
		{"delivery", label(func(l *api.Label) { l.Delivery = api.DeliverPlaceholder })},
		{"expiry removed", label(func(l *api.Label) { l.ExpiresAt = nil })},
		{"expiry a nanosecond later", label(func(l *api.Label) { l.ExpiresAt = &later })},
		{"expiry added", changed(func(a *api.RevealAnswer) { a.Bindings[0].ExpiresAt = &expires })},
		{"sealed flipped", changed(func(a *api.RevealAnswer) { a.Bindings[1].Sealed[0] ^= 1 })},
		{"sealed cut", changed(func(a *api.RevealAnswer) { a.Bindings[1].Sealed = a.Bindings[1].Sealed[1:] })},
		{"sealed emptied", changed(func(a *api.RevealAnswer) { a.Bindings[1].Sealed = nil })},
		{"etag", changed(func(a *api.RevealAnswer) { a.Etag += "x" })},
		{"etag emptied", changed(func(a *api.RevealAnswer) { a.Etag = "" })},
		{"suite never offered", changed(func(a *api.RevealAnswer) { a.Suite = "x25519" })},
		{"suite plain", changed(func(a *api.RevealAnswer) { a.Suite = "none" })},
		{"suite emptied", changed(func(a *api.RevealAnswer) { a.Suite = "" })},
		{"suite very long", changed(func(a *api.RevealAnswer) { a.Suite = strings.Repeat("s", 1<<20) })},
		{"enc flipped", changed(func(a *api.RevealAnswer) { a.Enc[0] ^= 1 })},
		{"enc cut", changed(func(a *api.RevealAnswer) { a.Enc = a.Enc[1:] })},
		{"enc emptied", changed(func(a *api.RevealAnswer) { a.Enc = nil })},
		{"an old answer, sealed to another key pair", func(t *testing.T, a *api.RevealAnswer) {
			*a = seal(t, sandbox, opener(t, sandbox).Recipient(), bound(3))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := opener(t, sandbox)
			set := bound(3)
			set[1].ExpiresAt = &expires
			a := seal(t, sandbox, o.Recipient(), set)
			tt.change(t, &a)
			got, err := o.Open(a)
			if !errors.Is(err, api.ErrTampered) {
				t.Errorf("error %v, want %v", err, api.ErrTampered)
			}
			if got.Etag != "" || got.Bound != nil {
				t.Error("something of a refused answer is given")
			}
			if err != nil && len(err.Error()) > 300 {
				t.Error("the error is as long as what the peer sent")
			}
		})
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
			if !errors.Is(err, api.ErrInvalid) || a.Bindings != nil {
				t.Errorf("error %v, want %v", err, api.ErrInvalid)
			}
		})
	}
}

// Two requests never share a key pair, and the same set never seals alike twice.
func TestSealIsFresh(t *testing.T) {
	one, two := opener(t, sandbox), opener(t, sandbox)
	if bytes.Equal(one.Recipient().PublicKey, two.Recipient().PublicKey) {
		t.Error("two openers have one key pair")
	}
	a, b := seal(t, sandbox, one.Recipient(), bound(1)), seal(t, sandbox, one.Recipient(), bound(1))
	if bytes.Equal(a.Enc, b.Enc) || bytes.Equal(a.Bindings[0].Sealed, b.Bindings[0].Sealed) {
		t.Error("the same set seals alike twice")
	}
	if a.Etag != b.Etag {
		t.Error("the same set has two etags")
	}
}

// FuzzOpen: whatever is done to an answer's JSON, opening it gives the original set or an error.
func FuzzOpen(f *testing.F) {
	o := opener(f, sandbox)
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	set := bound(2)
	set[0].ExpiresAt = &expires
	a := seal(f, sandbox, o.Recipient(), set)
	text, err := json.Marshal(a)
	if err != nil {
		f.Fatal(err)
	}
	want := flatten(set)
	f.Add(0, 0, []byte(nil))           // the original
	f.Add(len(text)-1, 1, []byte(nil)) // cut
	f.Add(10, 1, []byte("x"))          // a byte changed
	f.Add(bytes.Index(text, []byte(`"version":1`))+10, 1, []byte("2"))
	f.Add(bytes.Index(text, []byte(`"bindings"`)), 0, []byte(`"bindings":[],`)) // the later of two wins
	f.Add(len(text)-1, 0, []byte(`,"BINDINGS":[]`))                             // letters' case aside
	f.Add(1, 0, []byte(`"suite":"none",`))
	f.Add(bytes.Index(text, []byte(`NAME_0`)), 6, []byte(`NAME\u005f0`)) // the same name, spelled otherwise
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

// BenchmarkOpen50 is the agent's whole part: make a key pair, open 50 values of 64 bytes.
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
