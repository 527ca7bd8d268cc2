package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// forms returns a secret in every encoding in which it could leak.
func forms(secret string) [][]byte {
	var all [][]byte
	add := func(s string) { all = append(all, []byte(s)) }
	add(secret)
	add(url.QueryEscape(secret))
	add(url.PathEscape(secret))
	add(hex.EncodeToString([]byte(secret)))
	add(strings.ToUpper(hex.EncodeToString([]byte(secret))))
	// Base64 of a longer text that contains the secret: three alignments, without the edge characters, which depend
	// on the neighboring bytes.
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
			add(text[(shift*8+5)/6 : len(text)-1])
		}
	}
	var numbers []string // a []byte printed as numbers
	for _, b := range []byte(secret) {
		numbers = append(numbers, fmt.Sprint(b))
	}
	add(strings.Join(numbers, " "))
	return all
}

// Runs the whole API at trace level, refusals included, with recognizable values and keys. No file, log line or
// response contains one in any form, except a sealed reveal and the response that returns a new key.
func TestCanaries(t *testing.T) {
	vaulttest.OneVault(t, "it searches the database's files")
	searchCanaries(t, map[string]string{}, func(*vault.Config) {}, func() map[string][]byte { return nil })
}

// searchCanaries is TestCanaries with a configuration, further canaries, which no request contains, and further places.
func searchCanaries(t *testing.T, unsent map[string]string, conf vaulttest.Option, more func() map[string][]byte) {
	t.Helper()
	logged := &buffer.Buffer{}
	s := vaulttest.Start(t, conf, func(c *vault.Config) { c.Store.Log = zerolog.New(logged).Level(zerolog.TraceLevel) })
	var answers [][]byte
	canaries := map[string]string{"tenant key": s.TenantKey.Reveal()}
	value := func(name string) string {
		// 30 bytes: values under 32 bytes have no preview.
		v := fmt.Sprintf("cnry+%s/%s=?", name, strings.ToLower(api.NewKey("").Reveal()))[:30]
		canaries[name] = v
		return v
	}
	call := func(key api.Key, method, path, body string, header ...string) answer {
		a := ask(t, s, key, method, path, body, header...)
		answers = append(answers, a.body, []byte(fmt.Sprint(a.header)))
		return a
	}
	// Not recorded: the only response that contains a key.
	mint := func(r api.Resource) (api.Key, string) {
		key, id := s.MintResourceKey(t, r)
		canaries["key "+id] = key.Reveal()
		return key, id
	}
	body := func(name, v string) string {
		return toJSON(t, map[string]any{"name": name, "value": v, "refresh_token": value(name + "-refresh"),
			"resource_type": sandbox.Type, "resource_id": sandbox.ID, "expose_as_env": strings.ToUpper(name)})
	}
	made := decode[struct {
		Data    api.Secret
		Binding api.Binding
	}](t, call(s.TenantKey, "POST", "/egress/secrets", body("one", value("first"))))
	id := made.Data.ID
	call(s.TenantKey, "POST", "/egress/secrets", body("one", value("replaced")))
	call(s.TenantKey, "POST", "/egress/secrets", body("two", value("two")))
	call(s.TenantKey, "PATCH", "/egress/secrets/"+id, toJSON(t, map[string]string{"value": value("rotated")}))
	key, keyID := mint(sandbox)
	stays, _ := mint(sandbox)
	set := reveal(t, s, key, sandbox)
	w := hold(t, s, key, sandbox, set.Etag, 60)
	call(s.TenantKey, "PATCH", "/egress/secrets/"+id, toJSON(t, map[string]string{"value": value("waited-for")}))
	if got := values(w.opens(t)); got["ONE"] != canaries["waited-for"] {
		t.Fatal("the value was not revealed")
	}
	w = hold(t, s, key, sandbox, reveal(t, s, key, sandbox).Etag, 60)
	call(s.TenantKey, "DELETE", "/egress/resource-keys/"+keyID, "")
	answers = append(answers, w.ends(t, 401).body)

	// Refused requests: values in wrong fields, broken bodies, misplaced keys.
	v := value("refused")
	quoted := toJSON(t, v)
	for _, b := range []string{
		`{"value":` + quoted, `{"name":"x","value":{"a":` + quoted + `}}`, `{"name":"x","value":[` + quoted + `]}`,
		`{"name":{"a":` + quoted + `},"value":"x"}`, `{"name":"x","value":"x","expires_at":` + quoted + `}`,
		`{"name":"x","value":"x","scope":` + quoted + `}`, `{"name":"x","value":"x","metadata":` + quoted + `}`,
		`{"name":"x","value":"x","expose_as_env":` + quoted + `}`, `{"name":"x","value":"x","delivery":` + quoted + `}`,
		`{"name":"x","value":` + strings.Replace(quoted, "+", "+\\u0000", 1) + `}`, v, "\xff" + v,
		`{"name":"x","value":` + strings.Repeat("[", 40) + quoted,
		`{"value":` + quoted + `,"name":"` + strings.Repeat("a", 300) + `"}`,
		`{"name":"two","scope":"tenant","value":` + quoted + `,"resource_type":"sandbox","resource_id":"sb_1","expose_as_env":"ONE"}`,
	} {
		call(s.TenantKey, "POST", "/egress/secrets", b)
		call(s.TenantKey, "PATCH", "/egress/secrets/"+id, strings.Replace(b, `"value":"x"`, `"value":{}`, 1))
		call(key, "POST", "/egress/secrets", b)
		call(api.Key{}, "POST", "/egress/secrets", b)
		call(stays, "POST", "/egress/bindings/reveal", b)
	}
	for _, k := range canaries {
		call(stays, "GET", "/egress/bindings?resource_id=sb_1&x="+url.QueryEscape(k), "")
		call(s.TenantKey, "GET", "/"+url.PathEscape(k), "", "X-Request-ID", k)
		call(s.TenantKey, "GET", "/egress/audit?limit="+url.QueryEscape(k), "")
		call(s.TenantKey, "GET", "/egress/secrets?cursor="+url.QueryEscape(k), "")
		call(api.Key{}, "GET", "/egress/secrets", "", "Authorization", "Basic "+k)
		call(api.Key{}, "GET", "/egress/secrets", "", "Authorization", "Bearer "+k+"x")
	}
	for _, path := range []string{"/egress/secrets", "/egress/secrets/" + id, "/egress/bindings", "/egress/resource-keys", "/egress/audit?limit=1000",
		"/egress/audit?since=2000-01-01T00:00:00Z", "//metrics", "//healthz", "//readyz"} {
		if a := call(s.TenantKey, "GET", path, ""); a.status != 200 {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if _, err := s.Vault().Store().RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		places := map[string][]byte{"the log": []byte(logged.String())}
		maps.Copy(places, more())
		for i, b := range answers {
			places[fmt.Sprint("answer ", i, ": ", string(b[:min(len(b), 60)]))] = b
		}
		files, err := filepath.Glob(filepath.Join(s.DataDir(), "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, f := range files {
			if places[f], err = os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
		all := maps.Clone(unsent)
		maps.Copy(all, canaries)
		for name, canary := range all {
			for i, form := range forms(canary) {
				for place, text := range places {
					if bytes.Contains(text, form) {
						t.Errorf("%s: %s is in %s (form %d)", when, name, place, i)
					}
				}
			}
		}
	}
	look("running")
	call(s.TenantKey, "DELETE", "/egress/secrets/"+id, "")
	s.Stop(t)
	look("stopped")
	if logged.String() == "" {
		t.Error("nothing was logged")
	}
}

// The search used in TestCanaries finds each form.
func TestFormsFind(t *testing.T) {
	const secret = "cnry+a/b=?z"
	for _, c := range []struct{ name, text string }{
		{"plain", "x" + secret + "y"},
		{"JSON", toJSON(t, secret)},
		{"query", url.Values{"a": {secret}}.Encode()},
		{"hex", hex.EncodeToString([]byte("ab" + secret))},
		{"base64", base64.StdEncoding.EncodeToString([]byte(secret))},
		{"base64, one in", base64.StdEncoding.EncodeToString([]byte("1" + secret + "abc"))},
		{"base64, two in", base64.URLEncoding.EncodeToString([]byte("12" + secret + "abcd"))},
		{"base64, three in", base64.URLEncoding.EncodeToString([]byte("123" + secret))},
		{"bytes", fmt.Sprint([]byte("a" + secret))},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, form := range forms(secret) {
				if bytes.Contains([]byte(c.text), form) {
					return
				}
			}
			t.Errorf("not found in %s", c.text)
		})
	}
}

// Logged requests contain the route, not the path.
func TestLogOfRequests(t *testing.T) {
	logged := &buffer.Buffer{}
	s := vaulttest.Start(t, func(c *vault.Config) { c.Store.Log = zerolog.New(logged).Level(zerolog.DebugLevel) })
	ask(t, s, s.TenantKey, "GET", "/egress/secrets/sec_in_the_path?in=the-query", "", "X-Request-ID", "asked-1")
	poll.Until(t, patience, "the request is logged", func() bool { return strings.Contains(logged.String(), `"asked-1"`) })
	line := logged.String()
	for _, want := range []string{`"route":"GET /egress/secrets/{id}"`, `"status":404`, `"key_id":"key_`, `"took":`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	for _, never := range []string{"sec_in_the_path", "the-query", "Bearer"} {
		if strings.Contains(line, never) {
			t.Errorf("%s in %s", never, line)
		}
	}
}
