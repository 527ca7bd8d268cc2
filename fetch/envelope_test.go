package fetch_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/google/go-cmp/cmp"
)

func TestEnvelopesOfOne(t *testing.T) {
	const secret = `{"id":"sec_1","name":"n","metadata":{"data":{"id":"no"}}}`
	for _, tt := range []struct{ name, body, want string }{
		{"bare", secret, "sec_1"},
		{"data", `{"data":` + secret + `}`, "sec_1"},
		{"secret", `{"secret":` + secret + `}`, "sec_1"},
		{"data, and a binding beside it", `{"data":` + secret + `,"binding":{"id":"bnd_1"}}`, "sec_1"},
		{"secret in data", `{"data":{"secret":` + secret + `}}`, "sec_1"},
		{"data null, secret beside it", `{"data":null,"secret":` + secret + `}`, "sec_1"},
		{"white space", " \n{ \"data\" :\t" + secret + " } \n", "sec_1"},
		{"unknown fields", `{"data":` + secret + `,"request_id":"r","more":[1]}`, "sec_1"},
		{"a list", `{"data":[` + secret + `]}`, ""},
		{"no id", `{"data":{"name":"n"}}`, ""},
		{"only ok", `{"ok":true}`, ""},
		{"data is text", `{"data":"sec_1"}`, ""},
		{"three deep", `{"data":{"data":{"data":` + secret + `}}}`, ""},
		{"broken", `{"data":` + secret, ""},
		{"nothing", ``, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fetch.DecodeSecret([]byte(tt.body))
			if got.ID != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("id %q and error %v, want %q", got.ID, err, tt.want)
			}
		})
	}
}

func TestEnvelopesOfMany(t *testing.T) {
	const items = `[{"id":"bnd_1"},{"id":"bnd_2"}]`
	both, none := []string{"bnd_1", "bnd_2"}, []string{}
	for _, tt := range []struct {
		name, body string
		want       []string // nil: refused
	}{
		{"bare", items, both},
		{"bindings", `{"bindings":` + items + `}`, both},
		{"data", `{"data":` + items + `}`, both},
		{"items", `{"items":` + items + `}`, both},
		{"bindings in data", `{"data":{"bindings":` + items + `}}`, both},
		{"items in data", `{"data":{"items":` + items + `,"next":null}}`, both},
		{"with a cursor", `{"bindings":` + items + `,"next_cursor":"x"}`, both},
		{"empty", `{"bindings":[]}`, none},
		{"empty, bare", `[]`, none},
		{"null", `{"bindings":null}`, none},
		{"null data", `{"data":null}`, none},
		{"data beside more", `{"data":` + items + `,"meta":{"total":2}}`, both},
		{"one object", `{"bindings":{"id":"bnd_1"}}`, nil},
		{"another noun", `{"secrets":` + items + `}`, nil},
		{"an empty object", `{}`, nil},
		{"items that are text", `{"bindings":["bnd_1"]}`, nil},
		{"broken", `{"bindings":[{"id":"bnd_1"}`, nil},
		{"text", `"bnd_1"`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := fetch.DecodeBindings([]byte(tt.body))
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			got := []string{}
			for _, b := range list {
				got = append(got, b.ID)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("ids (-got +want):\n%s", diff)
			}
		})
	}
}

// FuzzAnswers: no body makes a decoder panic or return an unusable result, and no error repeats the body.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `{"data":{"id":"sec_1"}}`, `{"bindings":[{"id":"b"}]}`, `{"items":[null]}`, `{"data":{"data":{}}}`,
		`{"etag":"e","suite":"mlkem768-x25519","enc":"AA==","bindings":[],"closing":""}`, "[[[[", "\xff",
	} {
		f.Add([]byte(s))
	}
	opener, err := api.NewOpener(sandbox)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		secret, err1 := fetch.DecodeSecret(body)
		binding, err2 := fetch.DecodeBinding(body)
		_, err3 := fetch.DecodeSecrets(body)
		_, err4 := fetch.DecodeBindings(body)
		set, err5 := fetch.DecodeReveal(opener, body)
		if err1 == nil && secret.ID == "" || err2 == nil && binding.ID == "" || err5 == nil || set.Bound != nil {
			t.Fatal("accepted an unusable response")
		}
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if problem, ok := errors.AsType[*fetch.Problem](err); err != nil && (!ok || problem.Reason != fetch.BadAnswer && problem.Reason != fetch.Tampered) {
				t.Fatalf("error %v, want BadAnswer", err)
			}
		}
	})
}

// A set that opens but is unusable is refused. Only a broken vault seals one.
func TestUnusableSets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *api.Bound)
	}{
		{"no id", func(b *api.Bound) { b.ID = "" }},
		{"no secret id", func(b *api.Bound) { b.SecretID = "" }},
		{"no name", func(b *api.Bound) { b.ExposeAsEnv = "" }},
		{"version zero", func(b *api.Bound) { b.Version = 0 }},
		{"version below", func(b *api.Bound) { b.Version = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				bad := set()
				tt.change(&bad[1])
				answerJSON(w, 200, seal(t, r, bad))
			})
			got, err := client(t, vault.URL).Reveal(t.Context(), sandbox, "", 0)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || problem.Reason != fetch.BadAnswer || got.Bound != nil || len(vault.times()) != 1 {
				t.Errorf("error %v with %d values", err, len(got.Bound))
			}
		})
	}
}

// A reveal under "data" is accepted, as in other responses.
func TestRevealInAnEnvelope(t *testing.T) {
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		answerJSON(w, 200, map[string]any{"data": seal(t, r, set())})
	})
	got, err := client(t, vault.URL).Reveal(t.Context(), sandbox, "", 0)
	if err != nil || len(got.Bound) != 2 {
		t.Errorf("error %v with %d values", err, len(got.Bound))
	}
}

// Errors contain nothing of the request, even if the vault or a gateway repeats it.
func TestErrorsNeverRepeatWhatWasSent(t *testing.T) {
	const value = "canary-value"
	key := api.NewKey(api.TenantKeyPrefix)
	foreign := api.Key{Value: api.NewValue([]byte("canary-key-of-another-form"))}
	for name, key := range map[string]api.Key{"key": key, "key of another form": foreign} {
		for what, sentence := range map[string]func(r *http.Request, body string) string{
			"header":          func(r *http.Request, _ string) string { return "bad header " + r.Header.Get("Authorization") },
			"body":            func(_ *http.Request, body string) string { return "can't read " + body },
			"control letters": func(r *http.Request, _ string) string { return "\x1b[2J\n" + r.Header.Get("Authorization") },
			"very long": func(r *http.Request, _ string) string {
				return string(make([]byte, 1<<14)) + r.Header.Get("Authorization")
			},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
					var body map[string]string
					_ = json.NewDecoder(r.Body).Decode(&body)
					text := sentence(r, body["value"])
					w.Header().Set("X-Request-Id", r.Header.Get("Authorization"))
					answerJSON(w, 422, api.ErrorBody{Error: text, Code: text, RequestID: text})
				})
				c := client(t, vault.URL, func(c *fetch.Config) { c.Key = key })
				_, _, err := c.PutSecret(t.Context(), api.NewSecret{Name: "n", Value: api.NewValue([]byte(value))})
				problem, ok := errors.AsType[*fetch.Problem](err)
				refusal, also := errors.AsType[*api.Error](err)
				if !ok || !also || !errors.Is(err, api.ErrInvalid) {
					t.Fatalf("error %v", err)
				}
				for _, text := range []string{problem.Message, problem.Fix, refusal.Message, refusal.RequestID} {
					if len(text) > 400 || containsAny(text, value, key.Reveal(), "\x1b", "\n") {
						t.Errorf("%q repeats what was sent", text)
					}
				}
			})
		}
	}
}

func containsAny(text string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
