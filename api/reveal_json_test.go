package api_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func answers() []api.RevealAnswer {
	at := time.Date(2027, 1, 2, 3, 4, 5, 600, time.UTC)
	nasty := "a\"b\\c<d>&é\u2028\x00\x7f\n"
	return []api.RevealAnswer{
		{Enc: []byte{}, Bindings: []api.SealedBinding{}, Closing: []byte{}},
		{Etag: "e", Suite: api.SuiteXWing, Enc: []byte("enc"), Closing: []byte{0, 255}, Bindings: []api.SealedBinding{
			{Label: api.Label{ID: "bnd_1", SecretID: "sec_1", ExposeAsEnv: "A", Version: 7, Delivery: "value"}, Sealed: []byte("sealed")},
			{Label: api.Label{ID: nasty, SecretID: nasty, ExposeAsEnv: nasty, Version: -1 << 63, Delivery: nasty, ExpiresAt: &at}, Sealed: []byte{}},
		}},
	}
}

// TestRevealAnswerJSON: what we write, encoding/json reads as we do, and the reverse.
func TestRevealAnswerJSON(t *testing.T) {
	for _, want := range answers() {
		theirs, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{want.AppendJSON(nil), theirs, indented(t, theirs)} {
			ours, err := api.ParseRevealAnswer(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if diff := cmp.Diff(want, ours); diff != "" {
				t.Errorf("%s (-want +got)\n%s", text, diff)
			}
			var std api.RevealAnswer
			if err := json.Unmarshal(text, &std); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, std); diff != "" {
				t.Errorf("%s (-want +encoding/json)\n%s", text, diff)
			}
		}
	}
}

func indented(t *testing.T, text []byte) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "\r\n", "\t "); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRevealRequestJSON: what we write, encoding/json reads as we meant it.
func TestRevealRequestJSON(t *testing.T) {
	r := api.Resource{Type: api.Computer, ID: "c:1@x"}
	opener, err := api.NewOpener(r)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(opener.Recipient().PublicKey); n != api.PublicKeySize {
		t.Fatalf("a public key has %d bytes, not %d", n, api.PublicKeySize)
	}
	for _, want := range []api.RevealRequest{
		{Resource: r, Recipient: opener.Recipient()},
		{Resource: r, Recipient: opener.Recipient(), Etag: "a\"<", WaitSeconds: 50},
	} {
		var got api.RevealRequest
		if err := json.Unmarshal(want.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

var notAnswers = []string{
	"", "{", "null", "[]", `{"etag"}`, `{"etag":}`, `{"etag":"a"`, `{"etag":"a",}`, `{"etag":1}`, `{"etag":"a"}x`, `{"etag":"a"}{}`,
	`{"enc":"*"}`, `{"enc":"YQ"}`, `{"bindings":{}}`, `{"bindings":[1]}`, `{"bindings":[{}`, `{"bindings":[{},]}`, `{"bindings":[{"version":1.5}]}`,
	`{"bindings":[{"version":01}]}`, `{"bindings":[{"version":"1"}]}`, `{"bindings":[{"version":9223372036854775808}]}`, `{"bindings":[{"version":-}]}`,
	`{"bindings":[{"expires_at":"soon"}]}`, `{"etag":"\x"}`, `{"etag":"` + "\n" + `"}`, `{"etag":"\`, `{"x":}`, `{"x":[}`, `{"x":nul}`, `{x:1}`,
	`{"x":` + strings.Repeat("[", 20000) + `}`,
}

func TestParseRevealAnswerRefuses(t *testing.T) {
	for _, text := range notAnswers {
		if a, err := api.ParseRevealAnswer([]byte(text)); err == nil {
			t.Errorf("%.60s was read as %+v", text, a)
		}
	}
}

// FuzzParseRevealAnswer: whatever we read, encoding/json reads, and the same. (It reads more: names in
// any case, and so is no measure of what we refuse.)
func FuzzParseRevealAnswer(f *testing.F) {
	for _, a := range answers() {
		f.Add(a.AppendJSON(nil))
	}
	for _, text := range notAnswers {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"x":[1,{"y":null}],"etag":null,"bindings":null,"enc":null,"Etag":"other"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, err := api.ParseRevealAnswer(text)
		if err != nil {
			return
		}
		if bytes.Contains(bytes.ToLower(text), []byte(`\u`)) || !asciiNames(text) {
			return // a name in another case or with escapes means something to encoding/json only
		}
		var std api.RevealAnswer
		if err := json.Unmarshal(text, &std); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", text, err)
		}
		if diff := cmp.Diff(std, ours); diff != "" {
			t.Fatalf("%q (-encoding/json +got)\n%s", text, diff)
		}
	})
}

// asciiNames tells whether every known name in text stands there in lower case only.
func asciiNames(text []byte) bool {
	for _, name := range []string{"etag", "suite", "enc", "closing", "bindings", "id", "secret_id", "expose_as_env", "delivery", "version", "expires_at", "sealed"} {
		if bytes.Count(bytes.ToLower(text), []byte(`"`+name)) != bytes.Count(text, []byte(`"`+name)) {
			return false
		}
	}
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func BenchmarkRevealAnswerJSON(b *testing.B) {
	a := answers()[1]
	for len(a.Bindings) < 100 {
		a.Bindings = append(a.Bindings, a.Bindings[0])
	}
	text := a.AppendJSON(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a.AppendJSON(nil)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := api.ParseRevealAnswer(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var got api.RevealAnswer
			if err := json.Unmarshal(text, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
