package swap

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest checks what holds for every request: a value is only sent if a binding was swapped, and only to its host; a
// refused request is unchanged; an unknown placeholder isn't in the URL or the headers of what is sent.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/v1/x", "key="+other, "Authorization", "Bearer "+token, "application/json", `{"key":"`+other+`"}`, true)
	f.Add("POST", "/"+shaped, "", "X-Other", other, "application/x-www-form-urlencoded", "secret="+odd, true)
	f.Add("POST", "/%6diosa", "a=%6d"+foreign[1:], "Authorization", basic("a:"+token), "", "", false)
	f.Add("PUT", "/", "X-Amz-Signature=", "Authorization", "AWS4-HMAC-SHA256 Credential="+token+"/20150830/us-east-1/service/aws4_request, SignedHeaders=host, Signature=00", "", "", true)
	f.Fuzz(func(t *testing.T, method, path, query, name, value, kind, body string, allowed bool) {
		r := newRequest(t, http.MethodPost, "/", body)
		r.Method, r.URL.RawQuery = method, query
		parsed, err := url.ParseRequestURI(path)
		if err != nil || parsed.Host != "" {
			return
		}
		r.URL.Path, r.URL.RawPath = parsed.Path, parsed.RawPath
		r.Header = http.Header{"Content-Type": {kind}, http.CanonicalHeaderKey(name): {value}}
		before := r.Clone(t.Context())
		host := "evil.org"
		if allowed {
			host = "api.example.com"
		}
		s, err := table(t).Request(r, host, 443)
		changed := r.URL.String() != before.URL.String() || r.Header.Get(name) != before.Header.Get(name)
		if err != nil {
			if changed || len(s.Bindings) > 0 {
				t.Errorf("refused and changed: %v", err)
			}
			return
		}
		var sent []byte
		if r.Body != nil {
			if sent, err = io.ReadAll(r.Body); err != nil {
				t.Fatal(err)
			}
		}
		if string(sent) != body && r.ContentLength != int64(len(sent)) {
			t.Errorf("a body of %d bytes is sent as one of %d", len(sent), r.ContentLength)
		}
		changed = changed || string(sent) != body
		if changed && (len(s.Bindings) == 0 || !allowed) {
			t.Errorf("changed without a swap, or for another host: %v", names(s))
		}
		if len(s.Bindings) > 0 && !changed {
			t.Errorf("swapped and unchanged: %v", names(s))
		}
		for _, text := range []string{r.URL.Path, r.URL.RawQuery, r.Header.Get(name)} {
			if strings.Contains(text, foreign) || strings.Contains(text, token) || strings.Contains(text, shaped) {
				t.Errorf("sent: %s", text)
			}
		}
		if strings.ContainsAny(r.Header.Get(name), "\r\n") && !strings.ContainsAny(value, "\r\n") || strings.ContainsAny(r.URL.RequestURI(), "\r\n") && !strings.ContainsAny(query, "\r\n") {
			t.Error("a line break was added")
		}
	})
}
