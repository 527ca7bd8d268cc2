package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
)

// The hand-written encoding decodes correctly with encoding/json, and with the hand-written parser if nothing in
// it is escaped.
func TestQuickJSON(t *testing.T) {
	for name, set := range map[string][]api.Bound{"nothing bound": nil, "plain": bound(3), "odd": oddSet()} {
		header, _, _ := bytes.Cut(encode(t, snapshot(set)), []byte("\n"))
		_, _, byHand := api.ReadHeader(header)
		_, _, byJSON := api.DecodeHeader(header)
		if !byJSON || byHand != (name != "odd") {
			t.Errorf("%s: by hand %v, by encoding/json %v", name, byHand, byJSON)
		}
	}
	o := opener(t, sandbox)
	if n := len(o.Recipient().PublicKey); n != api.PublicKeySize {
		t.Fatalf("a public key has %d bytes, not %d", n, api.PublicKeySize)
	}
	plain, odd := o.Request(), o.Request()
	odd.Etag, odd.WaitSeconds = "a\"<", 50
	for _, want := range []api.RevealRequest{plain, odd} {
		var got api.RevealRequest
		if err := json.Unmarshal(want.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	}
	for _, want := range []api.RevealAnswer{{Sealed: []byte{}}, {Etag: "e", Suite: "s", Sealed: []byte{0, 255}}, {Etag: "é\"", Suite: "<", Sealed: []byte("sealed")}} {
		var got api.RevealAnswer
		if err := json.Unmarshal(want.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		again, err := api.DecodeRevealAnswer(want.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got) + cmp.Diff(want, again); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	}
}

// FuzzHeader: what the hand-written parser accepts, encoding/json decodes to the same header.
func FuzzHeader(f *testing.F) {
	for _, set := range [][]api.Bound{nil, bound(2), oddSet()[2:3]} {
		header, _, _ := bytes.Cut(encode(f, snapshot(set)), []byte("\n"))
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got, gotLengths, ok := api.ReadHeader(line)
		if !ok {
			return
		}
		want, wantLengths, ok := api.DecodeHeader(line)
		if !ok || got.Resource != want.Resource || got.Etag != want.Etag {
			t.Fatalf("%v %q, want %v %q", got.Resource, got.Etag, want.Resource, want.Etag)
		}
		if diff := cmp.Diff(flatten(got.Bound), flatten(want.Bound)) + cmp.Diff(gotLengths, wantLengths); diff != "" {
			t.Fatalf("(-by hand +by encoding/json)\n%s", diff)
		}
	})
}

// FuzzRevealAnswer: a response decodes as with encoding/json.
func FuzzRevealAnswer(f *testing.F) {
	a := api.RevealAnswer{Etag: "e", Suite: api.SuiteXWing, Sealed: []byte("sealed")}
	f.Add(a.AppendJSON(nil))
	f.Add(append(a.AppendJSON(nil), '\n'))
	f.Add([]byte(`{"etag":"e","suite":"s","sealed":"YQ=="} `))
	f.Add([]byte(`{"etag":"e","suite":"s","sealed":"Y\u0051=="}`))
	f.Add([]byte(`{"etag":"e","suite":"s","sealed":"YR=="}`))
	f.Add([]byte(`{"etag":"e","suite":"s","sealed":"YQ==","sealed":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := api.DecodeRevealAnswer(body)
		var want api.RevealAnswer
		if wantErr := json.Unmarshal(body, &want); (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if diff := cmp.Diff(got, want); err == nil && diff != "" {
			t.Fatalf("(-got +want)\n%s", diff)
		}
	})
}

// A request in the usual spelling is decoded as encoding/json does it. Others are left to that.
func TestReadRevealRequest(t *testing.T) {
	q := api.RevealRequest{
		Version: api.RevealVersion, Resource: api.Resource{Type: api.Sandbox, ID: "sb_1"}, Recipient: opener(t, sandbox).Recipient(), Etag: "e-1_", WaitSeconds: 50,
	}
	first, noWait, noEtag := q, q, q
	first.Etag, first.WaitSeconds, noWait.WaitSeconds, noEtag.Etag = "", 0, 0, ""
	for _, want := range []api.RevealRequest{q, first, noWait, noEtag} {
		got, ok := api.ReadRevealRequest(want.AppendJSON(nil))
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%v (-want +got)\n%s", ok, diff)
		}
	}
	usual := string(q.AppendJSON(nil))
	key := base64.StdEncoding.EncodeToString(q.Recipient.PublicKey)
	for name, text := range map[string]string{
		"nothing":         "",
		"cut":             usual[:len(usual)-1],
		"more behind":     usual + " ",
		"two requests":    usual + usual,
		"a space":         strings.Replace(usual, ":", ": ", 1),
		"an escape":       strings.Replace(usual, "sb_1", `sb\u005f1`, 1),
		"not ASCII":       strings.Replace(usual, "sb_1", "sb_é", 1),
		"two etags":       strings.Replace(usual, `,"etag":"e-1_"`, `,"etag":"e-1_","etag":"e-1_"`, 1),
		"etag at the end": strings.Replace(usual[:len(usual)-1], `,"etag":"e-1_"`, "", 1) + `,"etag":"e-1_"}`,
		"a negative wait": strings.Replace(usual, ":50}", ":-50}", 1),
		"a long wait":     strings.Replace(usual, ":50}", ":9223372036854775807}", 1),
		"a leading zero":  strings.Replace(usual, ":50}", ":050}", 1),
		"a fraction":      strings.Replace(usual, ":50}", ":5.0}", 1),
		"another name":    strings.Replace(usual, "wait_seconds", "WAIT_seconds", 1),
		"another order":   strings.Replace(usual, `"suite":"`+api.SuiteXWing+`","public_key":"`+key+`"`, `"public_key":"`+key+`","suite":"`+api.SuiteXWing+`"`, 1),
		"a key cut":       strings.Replace(usual, key, key[1:], 1),
		"null":            strings.Replace(usual, `"sb_1"`, "null", 1),
	} {
		if text == usual {
			t.Errorf("%s: the same text", name)
		}
		if got, ok := api.ReadRevealRequest([]byte(text)); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzReadRevealRequest: what is decoded quickly is what encoding/json decodes.
func FuzzReadRevealRequest(f *testing.F) {
	for _, seed := range []api.RevealRequest{{}, {Version: 2, Resource: sandbox, Etag: "e", WaitSeconds: 1}, opener(f, sandbox).Request()} {
		f.Add(seed.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		quick, ok := api.ReadRevealRequest(text)
		if !ok {
			return
		}
		var want api.RevealRequest
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, quick, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q (-want +got)\n%s", text, diff)
		}
	})
}
