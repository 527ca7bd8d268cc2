package vault_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// Each accepted time format is answered as RFC 3339 text of the same moment. Other formats are refused and change
// nothing.
func TestSDKExpiresAt(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.PutSecret(t, map[string]any{"name": "rotated", "value": "v"})
	for _, tt := range []struct{ name, sent, want string }{ // both as JSON; want "": refused
		{"UTC", `"2100-01-02T03:04:05Z"`, `"2100-01-02T03:04:05Z"`},
		{"an offset", `"2100-01-02T03:04:05+02:00"`, `"2100-01-02T01:04:05Z"`},
		{"a negative offset", `"2100-01-02T03:04:05-05:30"`, `"2100-01-02T08:34:05Z"`},
		{"an offset of nothing", `"2100-01-02T03:04:05+00:00"`, `"2100-01-02T03:04:05Z"`},
		{"milliseconds, as JavaScript", `"2100-01-02T03:04:05.678Z"`, `"2100-01-02T03:04:05.678Z"`},
		{"no milliseconds", `"2100-01-02T03:04:05.000Z"`, `"2100-01-02T03:04:05Z"`},
		{"microseconds, as Python", `"2100-01-02T03:04:05.678901+00:00"`, `"2100-01-02T03:04:05.678901Z"`},
		{"microseconds, as Elixir", `"2100-01-02T03:04:05.678901Z"`, `"2100-01-02T03:04:05.678901Z"`},
		{"nanoseconds, as Go", `"2100-01-02T03:04:05.678901234Z"`, `"2100-01-02T03:04:05.678901Z"`},
		{"past", `"2001-01-02T03:04:05Z"`, `"2001-01-02T03:04:05Z"`},
		{"empty", `""`, `null`},
		{"null", `null`, `null`},
		{"a day", `"2100-01-02"`, ""},
		{"no zone, as a naive Python", `"2100-01-02T03:04:05"`, ""},
		{"a blank", `"2100-01-02 03:04:05Z"`, ""},
		{"no such day", `"2100-02-30T03:04:05Z"`, ""},
		{"seconds since 1970", `4102455845`, ""},
		{"seconds as text", `"4102455845"`, ""},
		{"words", `"tomorrow"`, ""},
		{"an object", `{"at":"2100-01-02T03:04:05Z"}`, ""},
		{"the year 10000", `"9999-12-31T23:59:59-01:00"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			put := `{"name":"put ` + tt.name + `","value":"v","expires_at":` + tt.sent + `}`
			for method, a := range map[string]answer{
				"POST":  ask(t, s, s.TenantKey, "POST", "/egress/secrets", put),
				"PATCH": ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, `{"value":"v","expires_at":`+tt.sent+`}`),
			} {
				if tt.want == "" {
					wantRefusal(t, a, api.ErrInvalid, "expires_at")
					continue
				}
				if a.status/100 != 2 {
					t.Fatalf("%s: status %d: %s", method, a.status, a.body)
				}
				o := decode[struct{ Data map[string]json.RawMessage }](t, a)
				want := tt.want
				if method == "PATCH" && tt.sent == `""` { // as if it were absent: the previous expiry has passed and is dropped
					want = "null"
				}
				if got := string(o.Data["expires_at"]); got != want {
					t.Errorf("%s: answered %s, want %s", method, got, want)
				}
			}
		})
	}
}

// A rotation keeps a future expiry if expires_at is absent or empty, and drops it on null.
func TestSDKRotationAndExpiry(t *testing.T) {
	s := vaulttest.Start(t)
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	for body, want := range map[string]any{
		`{"value":"w"}`: later, `{"value":"w","expires_at":""}`: later, `{"value":"w","expires_at":null}`: nil,
		`{"value":"w","refresh_token":"r"}`: later, `{"value":"w","refresh_token":""}`: later, `{"value":"w","refresh_token":null}`: later,
		`{"value":"w","expires_at":"2100-01-01T00:00:00Z"}`: "2100-01-01T00:00:00Z",
	} {
		id := s.PutSecret(t, map[string]any{"name": body, "value": "v", "expires_at": later})
		a := ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, body)
		if got := decode[struct{ Data map[string]any }](t, a).Data["expires_at"]; a.status != http.StatusOK || got != want {
			t.Errorf("%s: status %d, %v, want %v", body, a.status, got, want)
		}
	}
}

// Metadata up to 64 KiB is returned as it was sent; one byte more is refused.
func TestSDKMetadata(t *testing.T) {
	s := vaulttest.Start(t)
	sized := func(n int) string {
		const frame = `{"pad":""}`
		return `{"pad":"` + strings.Repeat("x", n-len(frame)) + `"}`
	}
	for _, tt := range []struct {
		name, sent string
		refused    *api.Kind
	}{
		{"empty", `{}`, nil},
		{"nested", `{"a":{"b":[1,2.5,-3e10,{"c":null,"d":[true,false,[]]}]}}`, nil},
		{"unicode", `{"größe":"𝔘nicode 🙂 \u0000 \u2028 <&> \ud83d\ude00 \"\\/"}`, nil},
		{"large numbers", `{"n":12345678901234567890,"f":0.1234567890123456789}`, nil},
		{"keys like ours", `{"value":"no secret","data":{"id":"x"},"secret":1,"items":[]}`, nil},
		{"an empty key", `{"":""}`, nil},
		{"30 levels, with the body 31", strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30), nil},
		{"33 levels with the body", strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32), api.ErrMalformed},
		{"64 KiB", sized(64 << 10), nil},
		{"64 KiB and a byte", sized(64<<10 + 1), api.ErrInvalid},
		{"a list", `[1]`, api.ErrInvalid},
		{"a text", `"{}"`, api.ErrInvalid},
		{"a number", `1`, api.ErrInvalid},
		{"half a surrogate pair", `{"a":"\ud83d"}`, api.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, s, s.TenantKey, "POST", "/egress/secrets", `{"name":"`+tt.name+`","value":"v","metadata":`+tt.sent+`}`)
			if tt.refused != nil {
				wantRefusal(t, a, tt.refused, "")
				return
			}
			if a.status != http.StatusCreated {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			id := decode[struct{ Data api.Secret }](t, a).Data.ID
			one := ask(t, s, s.TenantKey, "GET", "/egress/secrets/"+id, "")
			rotated := ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, `{"value":"w","metadata":{"no":"such field here"}}`)
			for _, a := range []answer{a, one, rotated} {
				if diff := cmp.Diff(exactly(t, decode[struct{ Data map[string]json.RawMessage }](t, a).Data["metadata"]), exactly(t, []byte(tt.sent))); diff != "" {
					t.Errorf("(-got +sent)\n%.1000s", diff)
				}
			}
			for _, sdk := range sdks { // metadata is never mistaken for an envelope
				if o, err := sdk.object(one.body); err != nil || o["id"] != id {
					t.Errorf("%s reads %v: %v", sdk.name, o["id"], err)
				}
			}
		})
	}
	for _, sent := range []string{"null", ""} {
		body := `{"name":"none ` + sent + `","value":"v"}`
		if sent != "" {
			body = `{"name":"none ` + sent + `","value":"v","metadata":` + sent + `}`
		}
		a := ask(t, s, s.TenantKey, "POST", "/egress/secrets", body)
		if got := string(decode[struct{ Data map[string]json.RawMessage }](t, a).Data["metadata"]); got != "{}" {
			t.Errorf("metadata %q is answered as %s", sent, got)
		}
	}
}

// exactly decodes JSON without rounding numbers.
func exactly(t testing.TB, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The masked value is the same in both fields, follows a rotation, and shows nothing of a short value.
func TestSDKMaskedValues(t *testing.T) {
	s := vaulttest.Start(t)
	id := s.PutSecret(t, map[string]any{"name": "a", "value": ""})
	for value, want := range map[string]string{
		"": "********", "short": "********", strings.Repeat("v", 31): "********", "sk_live_" + strings.Repeat("v", 20) + "tail": "sk_liv...tail",
		"äöüßéè" + strings.Repeat("x", 22) + "🙂🙂🙂🙂": "äöüßéè...🙂🙂🙂🙂", "line 1\nline 2" + strings.Repeat("x", 40) + "<&>\"": "line 1...<&>\"",
	} {
		s.Rotate(t, id, value)
		for _, a := range []answer{
			ask(t, s, s.TenantKey, "GET", "/egress/secrets/"+id, ""),
			ask(t, s, s.TenantKey, "PATCH", "/egress/secrets/"+id, toJSON(t, map[string]string{"value": value})),
			ask(t, s, s.TenantKey, "POST", "/egress/secrets", toJSON(t, map[string]string{"name": "a", "value": value})),
		} {
			got := decode[struct{ Data api.Secret }](t, a).Data
			if got.MaskedValue != want || got.Preview != want || got.ID != id {
				t.Errorf("masked %q, preview %q, want %q", got.MaskedValue, got.Preview, want)
			}
			if value != "" && strings.Contains(string(a.body), toJSON(t, value)) {
				t.Error("the value is in the answer")
			}
		}
	}
}
