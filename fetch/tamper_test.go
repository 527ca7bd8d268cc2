package fetch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/test/tamper"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
)

// Any modification of a real vault's response in transit is detected at once: the whole set is refused, and the
// next intact response is accepted.
func TestFault_A15_TamperingOnTheWay(t *testing.T) {
	v := vaulttest.Start(t)
	for name, value := range map[string]string{"ALPHA": "canary-alpha", "BETA": "canary-beta", "GAMMA": "canary-gamma"} {
		v.Put(t, name, value, sandbox, name)
	}
	other := api.Resource{Type: api.Sandbox, ID: "sb_2"}
	v.Put(t, "other", "canary-other", other, "ALPHA")
	p := tamper.New(t, v.BaseURL)
	c := client(t, p.BaseURL, func(c *fetch.Config) { c.Key = v.ResourceKey(t, sandbox) })

	var old []byte // a genuine response to an earlier request
	p.Change(func(b []byte) []byte { old = bytes.Clone(b); return b })
	first, err := c.Reveal(t.Context(), sandbox, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := plaintext(first)

	const enc, tag = 1120, 16
	sealed := func(change func(b []byte) []byte) func([]byte) []byte {
		return tamper.Edit(func(a *api.RevealAnswer) { a.Sealed = change(a.Sealed) })
	}
	without := func(name string) func([]byte) []byte {
		return func(body []byte) []byte {
			var answer map[string]any
			_ = json.Unmarshal(body, &answer)
			answer[name] = nil
			out, _ := json.Marshal(answer)
			return out
		}
	}
	tests := map[string]func([]byte) []byte{
		"values swapped": sealed(func(b []byte) []byte { slices.Reverse(b[len(b)-tag-30 : len(b)-tag]); return b }),
		"a value's bit":  sealed(func(b []byte) []byte { b[len(b)-tag-1] ^= 1; return b }),
		"a label's bit":  sealed(func(b []byte) []byte { b[enc+40] ^= 1; return b }),
		"last dropped":   sealed(func(b []byte) []byte { return slices.Delete(b, len(b)-tag-12, len(b)-tag) }),
		"all dropped":    sealed(func(b []byte) []byte { return slices.Delete(b, enc, len(b)-tag) }),
		"one repeated":   sealed(func(b []byte) []byte { return slices.Insert(b, len(b)-tag, b[len(b)-tag-12:len(b)-tag]...) }),
		"the tag":        sealed(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"the tag cut":    sealed(func(b []byte) []byte { return b[:len(b)-tag] }),
		"the key":        sealed(func(b []byte) []byte { b[enc/2] ^= 1; return b }),
		"sealed emptied": sealed(func([]byte) []byte { return []byte{} }),
		"sealed missing": without("sealed"),
		"etag":           tamper.Edit(func(a *api.RevealAnswer) { a.Etag = "another" }),
		"etag emptied":   tamper.Edit(func(a *api.RevealAnswer) { a.Etag = "" }),
		"etag missing":   without("etag"),
		"suite":          tamper.Edit(func(a *api.RevealAnswer) { a.Suite = "x25519" }),
		"suite none":     tamper.Edit(func(a *api.RevealAnswer) { a.Suite = "none" }),
		"suite missing":  without("suite"),
		"an old answer":  func([]byte) []byte { return old },
		"an answer's seal of before": tamper.Edit(func(a *api.RevealAnswer) {
			var before api.RevealAnswer
			_ = json.Unmarshal(old, &before)
			a.Sealed = before.Sealed
		}),
		"an answer of ours": func([]byte) []byte { return sealedToSomeoneElse(t) },
		"an empty object":   func([]byte) []byte { return []byte("{}") },
		"a value in the clear": func([]byte) []byte {
			return []byte(`{"etag":"e","suite":"none","sealed":"eyJiaW5kaW5ncyI6W119Cg=="}`)
		},
		"version 1 of the reveal": func([]byte) []byte {
			return []byte(`{"etag":"e","suite":"mlkem768-x25519","enc":"dg==","bindings":[{"id":"b","secret_id":"s","expose_as_env":"X","version":1,"sealed":"dg=="}],"closing":"dg=="}`)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			p.Change(change)
			before := p.Reveals()
			got, err := c.Reveal(t.Context(), sandbox, "", 0)
			problem, ok := errors.AsType[*fetch.Problem](err)
			if !ok || (problem.Reason != fetch.Tampered && problem.Reason != fetch.BadAnswer) || got.Bound != nil || got.Etag != "" {
				t.Fatalf("error %v with %d values", err, len(got.Bound))
			}
			if problem.Reason == fetch.Tampered && !errors.Is(err, api.ErrTampered) || api.Temporary(err) {
				t.Error("not marked as tampered")
			}
			if n := p.Reveals() - before; n != 1 {
				t.Errorf("%d reveals: asked again until one passed", n)
			}
			p.Change(tamper.Unchanged)
			if got, err = c.Reveal(t.Context(), sandbox, "", 0); err != nil {
				t.Fatalf("the next, unmodified response: %v", err)
			}
			if diff := cmp.Diff(plaintext(got), want); diff != "" {
				t.Errorf("set (-got +want):\n%s", diff)
			}
		})
	}

	// A genuine response for another resource is refused, even if it is sealed to the client's key pair.
	t.Run("another resource", func(t *testing.T) {
		theirs := v.ResourceKey(t, other)
		detour := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
			var ask map[string]any
			_ = json.NewDecoder(r.Body).Decode(&ask)
			ask["resource_id"] = other.ID
			status, text := v.Do(t, theirs, "POST", "/egress/bindings/reveal", ask)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write(text)
		})
		_, err := client(t, detour.URL).Reveal(t.Context(), sandbox, "", 0)
		if !errors.Is(err, api.ErrTampered) {
			t.Errorf("error %v, want %v", err, api.ErrTampered)
		}
	})
}

func sealedToSomeoneElse(t *testing.T) []byte {
	o, err := api.NewOpener(sandbox)
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.Seal(sandbox, o.Recipient(), set())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A response truncated at any byte is refused, even if Content-Length was corrected.
func TestCutAtEveryByte(t *testing.T) {
	length := 0
	cut := 0
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		text, err := json.Marshal(seal(t, r, set()))
		if err != nil {
			t.Error(err)
		}
		length = len(text)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text[:cut])
	})
	c := client(t, vault.URL)
	for cut = 0; cut == 0 || cut < length; cut++ {
		got, err := c.Reveal(t.Context(), sandbox, "", 0)
		problem, ok := errors.AsType[*fetch.Problem](err)
		if !ok || problem.Reason != fetch.BadAnswer || got.Bound != nil {
			t.Fatalf("cut at byte %d of %d: error %v with %d values", cut, length, err, len(got.Bound))
		}
	}
	if n := len(vault.times()); n != length {
		t.Errorf("%d requests for %d cuts", n, length)
	}
	if got, err := c.Reveal(t.Context(), sandbox, "", 0); err != nil || len(got.Bound) != 2 {
		t.Errorf("uncut: error %v", err)
	}
}
