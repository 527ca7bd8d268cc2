package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestReadBodyRefuses(t *testing.T) {
	secret := func(r string) error { _, err := read[secretBody](r); return err }
	reveal := func(r string) error { _, err := read[revealBody](r); return err }
	for _, c := range []struct {
		name    string
		read    func(string) error
		body    string
		kind    *api.Kind
		message string
	}{
		{"empty", secret, ``, api.ErrMalformed, "the body is not JSON"},
		{"cut", secret, `{"name":"a"`, api.ErrMalformed, "the body is not JSON"},
		{"two values", secret, `{} {}`, api.ErrMalformed, "the body is not JSON"},
		{"array", secret, `[]`, api.ErrInvalid, "the body must be an object"},
		{"text", secret, `"a"`, api.ErrInvalid, "the body must be an object"},
		{"not UTF-8", secret, "{\"name\":\"\xff\"}", api.ErrMalformed, "the body is not UTF-8"},
		{"half a character", secret, `{"value":"a\ud83dz"}`, api.ErrMalformed, "the body has an escape of half a character"},
		{"the other half", secret, `{"value":"\ude00"}`, api.ErrMalformed, "the body has an escape of half a character"},
		{"too deep", secret, strings.Repeat("[", maxDepth+1), api.ErrMalformed, "the body is nested too deeply"},
		{"value a number", secret, `{"value":31337}`, api.ErrInvalid, "value must be a string"},
		{"value an object", secret, `{"value":{"a":1}}`, api.ErrInvalid, "value must be a string"},
		{"name a list", secret, `{"name":["a"]}`, api.ErrInvalid, "name must be a string"},
		{"metadata a string", secret, `{"metadata":"a"}`, api.ErrInvalid, "metadata must be an object"},
		{"time a number", secret, `{"expires_at":1}`, api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z"},
		{"time without zone", secret, `{"expires_at":"2030-01-02T03:04:05"}`, api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z"},
		{"time past year 9999", secret, `{"expires_at":"9999-12-31T23:59:59-01:00"}`, api.ErrInvalid, "expires_at must be a time such as 2030-01-02T03:04:05Z"},
		{"embedded field", reveal, `{"resource_id":1}`, api.ErrInvalid, "resource_id must be a string"},
		{"nested field", reveal, `{"recipient":{"suite":1}}`, api.ErrInvalid, "recipient.suite must be a string"},
		{"recipient a string", reveal, `{"recipient":"a"}`, api.ErrInvalid, "recipient must be an object"},
		{"wait a fraction", reveal, `{"wait_seconds":1.5}`, api.ErrInvalid, "wait_seconds must be a whole number"},
		{"wait a text", reveal, `{"wait_seconds":"1"}`, api.ErrInvalid, "wait_seconds must be a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.read(c.body)
			if !errors.Is(err, c.kind) || err.Error() != c.message {
				t.Errorf("got %v (%v), want %q", err, c.kind.Code, c.message)
			}
		})
	}
}

// An error names a field as the JSON does, also if structs are embedded whose names look like those of fields.
func TestReadBodyNamesFieldsAsJSON(t *testing.T) {
	type asked struct {
		Expose string `json:"expose_as_env"`
	}
	type body struct {
		asked
		Inner struct {
			asked
		} `json:"inner"`
	}
	for text, want := range map[string]string{
		`{"expose_as_env":1}`:           "expose_as_env must be a string",
		`{"inner":{"expose_as_env":1}}`: "inner.expose_as_env must be a string",
		`{"inner":1}`:                   "inner must be an object",
	} {
		if _, err := read[body](text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestReadBodyTakes(t *testing.T) {
	for _, c := range []struct{ name, body, value string }{
		{"unknown fields", `{"value":"a","new":{"b":[1]}}`, "a"},
		{"escapes", `{"value":"\u00e9\ud83d\ude00\n\"\\ud800"}`, "é😀\n\"\\ud800"},
		{"empty value", `{"value":""}`, ""},
		{"nothing optional", `{"value":"a","type":null,"metadata":null,"expires_at":null,"refresh_token":null}`, "a"},
		{"empty time", `{"value":"a","expires_at":""}`, "a"},
		{"deep as allowed", `{"value":"a","metadata":` + strings.Repeat(`{"a":`, maxDepth-2) + `{}` + strings.Repeat("}", maxDepth-2) + "}", "a"},
		{"brackets in text", `{"value":"` + strings.Repeat("[{", 100) + `"}`, strings.Repeat("[{", 100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := read[secretBody](c.body)
			if err != nil {
				t.Fatal(err)
			}
			if v := in.Value; v.IsZero() || v.Reveal() != c.value {
				t.Errorf("the value came back changed")
			}
			if in.ExpiresAt.Time != nil || in.RefreshToken.Len() != 0 {
				t.Errorf("a missing value was decoded as a value")
			}
		})
	}
}

func read[In any](body string) (In, error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	return readBody[In](httptest.NewRecorder(), r, maxBody)
}

func TestReadBodyBySize(t *testing.T) {
	body := `{"value":"` + strings.Repeat("a", 100) + `"}`
	for _, c := range []struct {
		name  string
		limit int
		known bool // Content-Length was sent
		ok    bool
	}{
		{"fits", len(body), true, true},
		{"fits, chunked", len(body), false, true},
		{"a byte too long, chunked", len(body) - 1, false, false},
		{"a byte too long", len(body) - 1, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			if !c.known {
				r.ContentLength = -1
			}
			_, err := readBody[secretBody](httptest.NewRecorder(), r, int64(c.limit))
			if c.ok && err != nil || !c.ok && !errors.Is(err, api.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReadBodyRefusesCompression(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
	r.Header.Set("Content-Encoding", "gzip")
	if _, err := readBody[secretBody](httptest.NewRecorder(), r, maxBody); !errors.Is(err, api.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// For any input, readBody returns a body or a refusal that repeats none of the input. An accepted body decodes as
// encoding/json decodes it.
func FuzzReadBody(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(b))
		in, err := readBody[secretBody](httptest.NewRecorder(), r, maxBody)
		var refused *api.Error
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("not a refusal: %v", err)
			}
			if refused.Kind != api.ErrMalformed && refused.Kind != api.ErrInvalid {
				t.Fatalf("refused as %v", refused.Kind.Code)
			}
			return
		}
		var plainly struct {
			Name  string
			Value *string
		}
		if err := json.Unmarshal(b, &plainly); err != nil {
			t.Fatalf("accepted invalid JSON: %v", err)
		}
		if in.Name != plainly.Name {
			t.Errorf("name %q, want %q", in.Name, plainly.Name)
		}
		if v := in.Value; !v.IsZero() && plainly.Value != nil && v.Reveal() != *plainly.Value {
			t.Error("the value differs")
		}
	})
}

// scanJSON refuses the depth at which a decoder would. What it accepts decodes to no replacement character that
// was not sent.
func FuzzScanJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		err := scanJSON(b)
		if !json.Valid(b) {
			return // the decoder refuses it
		}
		if deep := depthOf(t, b) > maxDepth; deep && err == nil {
			t.Fatalf("accepted a body deeper than %d", maxDepth)
		}
		if err != nil {
			return
		}
		var text string
		if json.Unmarshal(b, &text) == nil && strings.ContainsRune(text, utf8.RuneError) &&
			!bytes.ContainsRune(b, utf8.RuneError) && !bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`)) {
			t.Fatal("a character was replaced")
		}
	})
}

func depthOf(t *testing.T, b []byte) int {
	depth, deepest := 0, 0
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		token, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// seeds adds the corpus in testdata and inputs found by tests.
func seeds(f *testing.F) {
	f.Helper()
	text, err := os.ReadFile("testdata/bodies.txt")
	if err != nil {
		f.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) < 10 {
		f.Fatalf("only %d seeds", len(lines))
	}
	for _, line := range lines {
		f.Add(line)
	}
	f.Add([]byte(strings.Repeat("[", maxDepth+1)))
	f.Add([]byte(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)))
	f.Add([]byte("{\"name\":\"\xc3\x28\"}"))
}

// deadline is a response writer that records the read deadline.
type deadline struct {
	http.ResponseWriter
	at time.Time
}

func (d *deadline) SetReadDeadline(t time.Time) error { d.at = t; return nil }

// A body must arrive at a rate: the time for it grows with what has arrived, so one that stalls gives up its memory.
func TestStalledBodyEnds(t *testing.T) {
	var d deadline
	begun := time.Now()
	p := &pacedBody{body: strings.NewReader(strings.Repeat("a", 64*bodyRate)), conn: http.NewResponseController(&d), begun: begun}
	b := make([]byte, 4*bodyRate)
	for read := 0; ; {
		allowed := min(bodyGrace+time.Duration(read/bodyRate)*time.Second, readTimeout)
		n, err := p.Read(b)
		if got := d.at.Sub(begun); got != allowed {
			t.Fatalf("after %d bytes the body has %v, want %v", read, got, allowed)
		}
		if read += n; err != nil {
			if read != 64*bodyRate {
				t.Errorf("read %d bytes", read)
			}
			break
		}
	}
}

func TestReadBodyRefusesOtherFields(t *testing.T) {
	for text, want := range map[string]string{
		`{"host":"a.org","efect":"deny"}`: "the body has a field that isn't known here: there are resource_type, resource_id, host, effect, methods, path_glob, policy_id, note",
		`{"host":"a.org","effect":"deny","resource_type":"sandbox","resource_id":"sb_1","methods":null}`: "",
	} {
		if _, err := read[entryBody](text); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := read[policyBody](`{"resource":"sandbox:sb_1","mode":"enforce"}`); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a policy of a resource would be everyone's: %v", err)
	}
}
