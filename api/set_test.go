package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// bound returns a set of n values.
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

// oddSet returns a set with an empty value, one of the maximum size, a binary one, and labels of every kind.
func oddSet() []api.Bound {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600))
	set := bound(4)
	set[0].Value = api.NewValue(nil)
	set[1].Value = api.NewValue(bytes.Repeat([]byte("x"), api.MaxValueBytes))
	set[2].Value, set[2].ExpiresAt, set[2].Delivery = api.NewValue([]byte("é\n\"'$(x)")), &expires, api.DeliverPlaceholder
	set[3].Value, set[3].SecretName, set[3].UpdatedAt = api.NewValue([]byte("\xff\x00\n\n{}")), "name\n\u2028<>\"\\", expires.UTC()
	set[3].ID = "a\"b\\c<d>&é\u2028\x7f\n"
	return set
}

// flat is a binding in a form that can be compared and printed.
type flat struct {
	Label   api.Label
	About   api.About
	Content string
}

func flatten(set []api.Bound) []flat {
	out := []flat{}
	for _, b := range set {
		if b.ExpiresAt != nil {
			t := b.ExpiresAt.UTC()
			b.ExpiresAt = &t
		}
		out = append(out, flat{b.Label, b.About, b.Value.Reveal()})
	}
	return out
}

func snapshot(set []api.Bound) api.Snapshot {
	return api.Snapshot{Resource: sandbox, Etag: api.Etag(sandbox, api.Labels(set)), Bound: set}
}

func onHeap(size int) []byte { return make([]byte, size) }

func encode(t testing.TB, s api.Snapshot) []byte {
	t.Helper()
	encoded, err := s.Encode(onHeap)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// Decoding inverts encoding. Values are slices of the encoding, or what the value callback returns.
func TestEncoding(t *testing.T) {
	for name, set := range map[string][]api.Bound{"nothing bound": nil, "one": bound(1), "odd": oddSet(), "many": bound(500)} {
		t.Run(name, func(t *testing.T) {
			want := snapshot(set)
			encoded := encode(t, want)
			for kind, value := range map[string]func(at, length int) api.Value{
				"slices": nil,
				"made":   func(at, length int) api.Value { return api.NewValue(encoded[at : at+length]) },
			} {
				got, err := api.DecodeSnapshot(encoded, value)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(flatten(got.Bound), flatten(want.Bound)); diff != "" || got.Resource != want.Resource || got.Etag != want.Etag {
					t.Errorf("%s: %v %s (-got +want):\n%s", kind, got.Resource, got.Etag, diff)
				}
			}
			got, err := api.DecodeSnapshot(encoded, nil)
			if err != nil {
				t.Fatal(err)
			}
			got.Wipe()
			_, values, _ := bytes.Cut(encoded, []byte("\n"))
			if len(bytes.Trim(values, "\x00")) > 0 {
				t.Error("a copy of a value remains")
			}
		})
	}
}

// The header is JSON as described in docs/api.md.
func TestHeader(t *testing.T) {
	set := oddSet()[2:3]
	set[0].SecretName, set[0].UpdatedAt = "github", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	header, _, _ := strings.Cut(string(encode(t, snapshot(set))), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(header), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"resource_type": "sandbox", "resource_id": "sb_1", "etag": snapshot(set).Etag,
		"bindings": []any{map[string]any{
			"id": "bnd_2", "secret_id": "sec_2", "expose_as_env": "NAME_2", "version": 3.0, "delivery": "placeholder",
			"expires_at": "2030-01-02T03:04:05.000000006+01:00", "secret_name": "github", "updated_at": "2026-01-02T03:04:05Z", "length": 9.0,
		}},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("header (-got +want):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := string(encode(t, snapshot(bound(2))))
	header, values, _ := strings.Cut(whole, "\n")
	for name, encoded := range map[string]string{
		"nothing":            "",
		"no line":            header,
		"no header":          "\n" + values,
		"not JSON":           "{\n" + values,
		"a list":             "[]\n" + values,
		"more behind":        whole + "x",
		"a value cut":        whole[:len(whole)-1],
		"no values":          header + "\n",
		"length below zero":  strings.Replace(header, `"length":7`, `"length":-7`, 1) + "\n" + values,
		"length beyond":      strings.Replace(header, `"length":7`, `"length":70`, 1) + "\n" + values,
		"length that wraps":  strings.Replace(header, `"length":7`, `"length":9223372036854775807`, 1) + "\n" + values,
		"length of no int":   strings.Replace(header, `"length":7`, `"length":9223372036854775808`, 1) + "\n" + values,
		"length in brackets": strings.Replace(header, `"length":7`, `"length":[7]`, 1) + "\n" + values,
		"time of no kind":    strings.Replace(header, `"delivery":`, `"expires_at":"soon","delivery":`, 1) + "\n" + values,
	} {
		if s, err := api.DecodeSnapshot([]byte(encoded), nil); !errors.Is(err, api.ErrNotSet) || s.Bound != nil {
			t.Errorf("%s: error %v, want %v", name, err, api.ErrNotSet)
		}
	}
}

// Encoding fails if a value is wiped or changes its length meanwhile.
func TestEncodeRefusesWiped(t *testing.T) {
	set := bound(2)
	calls := 0
	set[1].Value = api.NewLentValue(func(use func([]byte)) {
		if calls++; calls == 1 {
			use([]byte("canary"))
		} else {
			use(nil)
		}
	})
	if encoded, err := snapshot(set).Encode(onHeap); !errors.Is(err, api.ErrWiped) || encoded != nil {
		t.Errorf("%d bytes, error %v", len(encoded), err)
	}
}

// FuzzDecode: a decoded set encodes and decodes to the same set.
func FuzzDecode(f *testing.F) {
	for _, set := range [][]api.Bound{nil, bound(2), oddSet()[2:]} {
		f.Add(encode(f, snapshot(set)))
	}
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"bindings":[{"length":1},{"LENGTH":1}]}` + "\nab"))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		s, err := api.DecodeSnapshot(encoded, nil)
		if err != nil {
			if !errors.Is(err, api.ErrNotSet) || s.Bound != nil {
				t.Fatalf("error %v", err)
			}
			return
		}
		total := 0
		for _, b := range s.Bound {
			total += b.Value.Len()
			if b.ExpiresAt != nil && b.ExpiresAt.Year() > 9998 || b.UpdatedAt.Year() > 9998 {
				t.Skip() // encoding/json accepts offsets that lead into the year 10000
			}
		}
		if _, values, _ := bytes.Cut(encoded, []byte("\n")); len(values) != total {
			t.Fatalf("%d bytes of values, want %d", total, len(values))
		}
		again, err := api.DecodeSnapshot(encode(t, s), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(flatten(again.Bound), flatten(s.Bound)); diff != "" {
			t.Fatalf("(-again +first)\n%s", diff)
		}
	})
}

func BenchmarkEncoding100(b *testing.B) {
	s := snapshot(bound(100))
	encoded := encode(b, s)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(b, s)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := api.DecodeSnapshot(encoded, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
