package swap

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// The set of the tests: placeholders, each with a value and rules.
const (
	token    = api.PlaceholderPrefix + "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	other    = api.PlaceholderPrefix + "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	shaped   = "ghp_cccccccccccccccccccccccccccccccccccc"
	odd      = "a+b/c=d:eeeeeeeeeeeeeeeeeeeee"
	ruleless = api.PlaceholderPrefix + "dddddddddddddddddddddddddd"
	newer    = api.PlaceholderPrefix + "ffffffffffffffffffffffffff"
	broken   = api.PlaceholderPrefix + "gggggggggggggggggggggggggg"
	foreign  = api.PlaceholderPrefix + "zzzzzzzzzzzzzzzzzzzzzzzzzz"

	tokenValue  = "s3cret/+ä\"value"
	otherValue  = "other value"
	shapedValue = "ghp_real"
	oddValue    = "T000/B000/x y"
)

func bound(id, placeholder, value string, rules ...api.EgressRule) api.Bound {
	return api.Bound{
		Label: api.Label{ID: id, ExposeAsEnv: strings.ToUpper(id), Delivery: api.DeliverPlaceholder, Egress: &api.Egress{Placeholder: placeholder, Rules: rules}},
		Value: api.NewValue([]byte(value)),
	}
}

func to(slots ...string) api.EgressRule {
	return api.EgressRule{Hosts: []string{"api.example.com"}, Slots: slots}
}

func table(t testing.TB) *Table {
	t.Helper()
	tab, err := New(api.Snapshot{Bound: []api.Bound{
		bound("token", token, tokenValue, to()),
		bound("other", other, otherValue, to("authorization", "header:X-Other", "header:Cookie", "query:key", "form:secret", "json:auth.key", "json:key"), api.EgressRule{Hosts: []string{"*.example.com"}, Methods: []string{"GET", "POST"}, Paths: []string{"/v1/**", "/"}, Slots: []string{"authorization", "header:X-Other", "header:Cookie", "query:key", "form:secret", "json:auth.key", "json:key", "path"}}),
		bound("shaped", shaped, shapedValue, to("authorization", "header:Authorization", "query:key", "path")),
		bound("odd", odd, oddValue, to("authorization", "query:key", "path", "form:secret", "json:key")),
		bound("ruleless", ruleless, "value"),
		bound("newer", newer, "value", to("quantum")),
		bound("broken", broken, "line\r\nX-Injected: yes", to("authorization", "header:X-Other", "query:key", "path", "json:key", "form:secret")),
		{Label: api.Label{ID: "plain", Delivery: api.DeliverValue}, Value: api.NewValue([]byte("plain"))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func newRequest(t testing.TB, method, target, body string, headers ...string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "https://api.example.com"+target, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func names(s Swapped) (all []string) {
	for _, l := range s.Bindings {
		all = append(all, l.ID)
	}
	return all
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		name, header, value string
		want                string
		bindings            []string
	}{
		{"bearer", "Authorization", "Bearer " + token, "Bearer " + tokenValue, []string{"token"}},
		{"case of the scheme", "Authorization", "bEARER " + token, "bEARER " + tokenValue, []string{"token"}},
		{"token", "Authorization", "token " + token, "token " + tokenValue, []string{"token"}},
		{"another scheme", "Authorization", "SSWS " + token, "SSWS " + tokenValue, []string{"token"}},
		{"no scheme", "Authorization", token, tokenValue, []string{"token"}},
		{"several spaces", "Authorization", "Bearer   " + token + "  ", "Bearer   " + tokenValue + "  ", []string{"token"}},
		{"tab", "Authorization", "Bearer\t" + token, "Bearer\t" + tokenValue, []string{"token"}},
		{"quoted", "Authorization", `Bearer "` + token + `"`, `Bearer "` + tokenValue + `"`, []string{"token"}},
		{"shape", "Authorization", "Bearer " + shaped, "Bearer " + shapedValue, []string{"shaped"}},
		{"a parameter, named as a header", "Authorization", `Token token="` + shaped + `", x=y`, `Token token="` + shapedValue + `", x=y`, []string{"shaped"}},
		{"password", "Authorization", basic("git:" + token), basic("git:" + tokenValue), []string{"token"}},
		{"user", "Authorization", basic(token + ":x-oauth-basic"), basic(tokenValue + ":x-oauth-basic"), []string{"token"}},
		{"user without a password", "Authorization", basic(token + ":"), basic(tokenValue + ":"), []string{"token"}},
		{"user and password", "Authorization", basic(token + ":" + other), basic(tokenValue + ":" + otherValue), []string{"token", "other"}},
		{"password with a colon", "Authorization", basic("u:" + odd), basic("u:" + oddValue), []string{"odd"}},
		{"Basic in upper case", "Authorization", "BASIC\t " + base64.RawURLEncoding.EncodeToString([]byte("ü?:"+token)), "BASIC " + strings.TrimPrefix(basic("ü?:"+tokenValue), "Basic "), []string{"token"}},
		{"default header", "X-Api-Key", token, tokenValue, []string{"token"}},
		{"named header", "X-Other", other, otherValue, []string{"other"}},
		{"within a header", "Cookie", "a=b; session=" + other + "; c=d", "a=b; session=" + otherValue + "; c=d", []string{"other"}},
		{"no placeholder", "Authorization", "Bearer ghp_mine", "Bearer ghp_mine", nil},
		{"invalid Base64", "Authorization", "Basic %%%", "Basic %%%", nil},
		{"text about placeholders", "X-Other", "it is miosa-tok-... or miosa-tok-abc", "it is miosa-tok-... or miosa-tok-abc", nil},
		{"the value itself", "X-Other", tokenValue, tokenValue, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "GET", "/v1/x", "", tt.header, tt.value)
			s, err := table(t).Request(r, "api.example.com", 443)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Get(tt.header); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if diff := cmp.Diff(tt.bindings, names(s)); diff != "" || len(s.Values) != len(s.Bindings) || (s.Scrubber() == nil) != (tt.bindings == nil) {
				t.Errorf("bindings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for _, tt := range []struct{ name, target, want string }{
		{"query", "/v1/x?a=1&key=" + other + "&b=%20", "/v1/x?a=1&key=other+value&b=%20"},
		{"percent-encoded", "/v1/x?key=" + strings.ReplaceAll(url.QueryEscape(other), "-", "%2D"), "/v1/x?key=other+value"},
		{"name percent-encoded", "/v1/x?k%65y=" + other, "/v1/x?k%65y=other+value"},
		{"within a parameter", "/v1/x?key=a%20" + other + "%26b", "/v1/x?key=a+other+value%26b"},
		{"marks, encoded", "/x?key=" + url.QueryEscape(odd), "/x?key=T000%2FB000%2Fx+y"},
		{"marks, not encoded", "/x?key=" + odd, "/x?key=T000%2FB000%2Fx+y"},
		{"path", "/bot" + shaped + "/send?a=b", "/botghp_real/send?a=b"},
		{"path, percent-encoded", "/a%2Fb/" + strings.ReplaceAll(shaped, "c", "%63") + "/%20", "/a%2Fb/ghp_real/%20"},
		{"value with slashes", "/services/" + url.PathEscape(odd), "/services/T000/B000/x%20y"},
		{"path and query", "/" + shaped + "?key=" + shaped, "/ghp_real?key=ghp_real"},
		{"nothing", "/v1/%zz"[:4] + "?a=%zz&key=b", "/v1/?a=%zz&key=b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "GET", tt.target, "")
			if _, err := table(t).Request(r, "api.example.com", 443); err != nil {
				t.Fatal(err)
			}
			if got := r.URL.RequestURI(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	const form, jsonType = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	large := `{"key": "` + other + `", "pad": "` + strings.Repeat("x", maxBody-100) + `"}`
	for _, tt := range []struct{ name, kind, body, want string }{
		{"form", form, "a=%20+b&secret=" + other + "&c", "a=%20+b&secret=other+value&c"},
		{"form, percent-encoded", form, "secret=" + strings.ReplaceAll(other, "-", "%2d"), "secret=other+value"},
		{"another field", form, "text=" + other + "&secret=x", "text=" + other + "&secret=x"},
		{"the same field twice, without a placeholder", form, "secret=1&secret=2", "secret=1&secret=2"},
		{"unknown placeholder", form, "secret=" + foreign, "secret=" + foreign},
		{"json", jsonType, "{ \"n\": 1.50e+3,\r\n\t\"auth\" : {\"key\":\"" + other + "\", \"z\":[1,{}]},\"a\":\"\\u00e9<>\" }\n", "{ \"n\": 1.50e+3,\r\n\t\"auth\" : {\"key\":\"other value\", \"z\":[1,{}]},\"a\":\"\\u00e9<>\" }\n"},
		{"json with escapes", "application/vnd.x+json", `{"key":"\u006diosa-tok-bbbbbbbbbbbbbbbbbbbbbbbbbb\n"}`, `{"key":"other value\n"}`},
		{"json within a string", jsonType, `{"key":"Bearer ` + other + `!"}`, `{"key":"Bearer other value!"}`},
		{"json in other places", jsonType, `{"messages":["` + other + `",{"key":"` + other + `"}],"` + other + `":"` + other + `","auth":"` + other + `","x":{"key":"` + other + `"}}`, ""},
		{"json in an array", jsonType, `[{"key":"` + other + `"}]`, ""},
		{"json with a dot in a key", jsonType, `{"auth.key":"` + other + `"}`, ""},
		{"invalid json", jsonType, `{"key":"` + other + `"`, ""},
		{"two json values", jsonType, `{"key":"` + other + `"}{}`, ""},
		{"large", jsonType, large, strings.Replace(large, other, otherValue, 1)},
		{"another type", "text/plain", `{"key":"` + other + `"}`, ""},
		{"empty", jsonType, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				r := newRequest(t, "POST", "/v1/x", tt.body, "Content-Type", tt.kind)
				if chunked && tt.body != "" {
					r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
				} else {
					r.Header.Set("Content-Length", "17") // as net/http has it in a server's request
				}
				want := tt.want
				if want == "" {
					want = tt.body
				}
				before := r.ContentLength
				s, err := table(t).Request(r, "api.example.com", 443)
				if err != nil {
					t.Fatal(err)
				}
				var body []byte
				if r.Body != nil {
					if body, err = io.ReadAll(r.Body); err != nil {
						t.Fatal(err)
					}
				}
				if string(body) != want || (len(s.Bindings) > 0) != (want != tt.body) {
					t.Errorf("chunked %v: %v, body of %d bytes:\ngot  %.300s\nwant %.300s", chunked, names(s), len(body), body, want)
				}
				if length := r.ContentLength; want != tt.body && length != int64(len(want)) || want == tt.body && length != before {
					t.Errorf("chunked %v: length %d, want that of %d bytes", chunked, length, len(want))
				}
				if h := r.Header.Get("Content-Length"); want != tt.body && h != "" && h != strconv.Itoa(len(want)) {
					t.Errorf("chunked %v: Content-Length: %s", chunked, h)
				}
				if r.Body != nil {
					if _, err = r.Body.Read(make([]byte, 1)); err == nil || errors.Join(r.Body.Close()) != nil {
						t.Errorf("reading on: %v", err)
					}
				}
			}
		})
	}
}

// A body that no rule names isn't read.
func TestBodiesAreStreamed(t *testing.T) {
	noFields, err := New(api.Snapshot{Bound: []api.Bound{bound("token", token, tokenValue, to())}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		table   *Table
		headers []string
	}{
		{table(t), []string{"Content-Type", "application/octet-stream", "X-Other", other}},
		{table(t), []string{"Content-Type", "application/json", "Content-Encoding", "gzip", "X-Other", other}},
		{noFields, []string{"Content-Type", "application/json", "X-Goog-Api-Key", token}},
	} {
		r := newRequest(t, "POST", "/v1/x", "", tt.headers...)
		body := &unread{}
		r.Body, r.ContentLength = body, 5<<30
		if _, err := tt.table.Request(r, "api.example.com", 443); err != nil || r.Body != io.ReadCloser(body) {
			t.Errorf("%v: %v, body %T", tt.headers, err, r.Body)
		}
	}
}

type unread struct{}

func (*unread) Read([]byte) (int, error) { return 0, errors.New("it was read") }
func (*unread) Close() error             { return nil }

// refusal expects that a request is refused, unchanged, without a value or a placeholder in the reason.
func refusal(t *testing.T, r *http.Request, host string, port int) *Refusal {
	t.Helper()
	before := r.Clone(t.Context())
	s, err := table(t).Request(r, host, port)
	var refused *Refusal
	if !errors.As(err, &refused) || len(s.Bindings) > 0 {
		t.Fatalf("swapped %v, %v", names(s), err)
	}
	text, jsonErr := json.Marshal(refused)
	for _, secret := range []string{token, other, shaped, odd, ruleless, newer, broken, foreign, tokenValue, otherValue, "X-Injected"} {
		if strings.Contains(err.Error()+string(text), secret) || jsonErr != nil {
			t.Errorf("%s has %s", text, secret)
		}
	}
	if diff := cmp.Diff(before.Header, r.Header); diff != "" || before.URL.String() != r.URL.String() {
		t.Errorf("the refused request was changed: %s\n%s", r.URL, diff)
	}
	return refused
}

// A placeholder where its rules don't allow it is refused, wherever servers return such parts of requests.
func TestAttack_EchoOfEverySlot(t *testing.T) {
	for _, name := range []string{
		"User-Agent", "Origin", "Referer", "X-Request-Id", "Sec-Websocket-Protocol", "Accept", "Accept-Language", "Content-Type", "X-Forwarded-For", "If-None-Match",
		"Range", "Traceparent", "Cookie", "Via", "Access-Control-Request-Headers", "Proxy-Authorization", "X-Custom",
	} {
		refused := refusal(t, newRequest(t, "GET", "/v1/x", "", name, "a "+token), "api.example.com", 443)
		if refused.Binding != "token" || refused.Name != "TOKEN" || refused.Rule != "egress.slots" || !strings.Contains(refused.Reason, "header:"+name) {
			t.Errorf("%s: %+v", name, refused)
		}
	}
	for _, target := range []string{
		"/" + token, "/x?q=" + token, "/x?" + token, "/x?" + token + "=y", "/x?q=%6d" + token[1:], "/%6d" + token[1:], "/x?a=b;key=" + token, "/x/" + token + "%2F..",
	} {
		refusal(t, newRequest(t, "GET", target, ""), "api.example.com", 443)
	}
	named := newRequest(t, "GET", "/", "")
	named.Header["X-"+strings.ToUpper(token)] = []string{"a"}
	refusal(t, named, "api.example.com", 443)
	host := newRequest(t, "GET", "/", "")
	host.Host = token + ".example.com"
	refusal(t, host, "api.example.com", 443)
	user := newRequest(t, "GET", "/", "")
	user.URL.User = url.UserPassword("u", token)
	refusal(t, user, "api.example.com", 443)
	opaque := newRequest(t, "GET", "/", "", "Authorization", "Bearer "+token)
	opaque.URL.Opaque = "//evil.example.com/"
	refusal(t, opaque, "api.example.com", 443)
	opaque = newRequest(t, "GET", "/", "")
	opaque.URL.Opaque = "//evil.example.com/" + token
	refusal(t, opaque, "api.example.com", 443)
}

func TestAttack_OtherDestinations(t *testing.T) {
	auth := func(placeholder string) []string { return []string{"Authorization", "Bearer " + placeholder} }
	for _, tt := range []struct {
		name, host string
		port       int
		request    *http.Request
		binding    string
		rule       string
	}{
		{"host", "evil.com", 443, newRequest(t, "GET", "/", "", auth(token)...), "token", "egress.hosts: api.example.com"},
		{"subdomain", "a.api.example.com", 443, newRequest(t, "GET", "/", "", auth(token)...), "token", "egress.hosts: api.example.com"},
		{"port", "api.example.com", 8443, newRequest(t, "GET", "/", "", auth(token)...), "token", "egress.ports: 443"},
		{"plain http", "api.example.com", 80, newRequest(t, "GET", "/", "", auth(token)...), "token", "egress.ports: 443"},
		{"host of one rule only", "b.example.com", 443, newRequest(t, "GET", "/", "", auth(other)...), "other", "egress.hosts: api.example.com"},
		{"method", "api.example.com", 443, newRequest(t, "DELETE", "/", "", auth(other)...), "other", "egress.methods: GET, POST"},
		{"path", "api.example.com", 443, newRequest(t, "GET", "/v2", "", auth(other)...), "other", "egress.paths: /v1/**, /"},
		{"path with dots", "api.example.com", 443, newRequest(t, "GET", "/v1/%2e%2e/v2", "", auth(other)...), "other", "egress.paths: /v1/**, /"},
		{"method in a header with _", "api.example.com", 443, newRequest(t, "POST", "/v1/x", "", append(auth(other), "X_HTTP_Method_Override", "DELETE")...), "other", ""},
		{"path in a header with _ and -", "api.example.com", 443, newRequest(t, "POST", "/v1/x", "", append(auth(other), "x-original_URL", "/y")...), "other", ""},
		{"method in a header", "api.example.com", 443, newRequest(t, "POST", "/v1/x", "", append(auth(other), "X-HTTP-Method-Override", "DELETE")...), "other", ""},
		{"path in a header", "api.example.com", 443, newRequest(t, "GET", "/v1/x", "", append(auth(other), "X-Original-URL", "/admin")...), "other", ""},
		{"method in a parameter", "api.example.com", 443, newRequest(t, "POST", "/v1/x?a=b&_method=DELETE", "", auth(other)...), "other", "egress.methods"},
		{"no rule", "api.example.com", 443, newRequest(t, "GET", "/", "", auth(ruleless)...), "ruleless", ""},
		{"rule of a newer version", "api.example.com", 443, newRequest(t, "GET", "/", "", auth(newer)...), "newer", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := refusal(t, tt.request, tt.host, tt.port); got.Binding != tt.binding || got.Rule != tt.rule {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Placeholders of another resource, and guesses, are refused without saying more than that.
func TestAttack_OtherPlaceholders(t *testing.T) {
	for _, tt := range []struct{ name, placeholder string }{
		{"another resource", foreign}, {"guess", api.PlaceholderPrefix + "12345678"}, {"one character less", token[:len(token)-1]}, {"another one", token[:len(token)-1] + "b"},
		{"upper case", api.PlaceholderPrefix + strings.ToUpper(token[len(api.PlaceholderPrefix):])},
	} {
		for _, r := range []*http.Request{
			newRequest(t, "GET", "/", "", "Authorization", "Bearer "+tt.placeholder), newRequest(t, "GET", "/", "", "Authorization", basic("a:"+tt.placeholder)),
			newRequest(t, "GET", "/", "", "X-Api-Key", tt.placeholder), newRequest(t, "GET", "/?a="+tt.placeholder, ""), newRequest(t, "GET", "/?a=%6d"+tt.placeholder[1:], ""),
			newRequest(t, "GET", "/"+tt.placeholder, ""), newRequest(t, "GET", "/", "", "X-Other", "x"+tt.placeholder),
		} {
			if got := refusal(t, r, "api.example.com", 443); got.Binding != "" || got.Rule != "" {
				t.Errorf("%s: %+v", tt.name, got)
			}
		}
	}
	// Shapes of real keys aren't known to be placeholders: without a value they harm nobody.
	r := newRequest(t, "GET", "/", "", "Authorization", "Bearer "+shaped[:len(shaped)-1]+"d")
	if s, err := table(t).Request(r, "api.example.com", 443); err != nil || len(s.Bindings) > 0 {
		t.Errorf("a guess with a shape: %v, %v", names(s), err)
	}
}

// Servers and proxies read these requests in different ways.
func TestAttack_Duplicates(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    *http.Request
	}{
		{"two Authorization headers", newRequest(t, "GET", "/", "", "Authorization", "Bearer "+token, "Authorization", "Bearer x")},
		{"two Authorization headers, the second", newRequest(t, "GET", "/", "", "Authorization", "Bearer x", "Authorization", "Bearer "+token)},
		{"the same header twice", newRequest(t, "GET", "/", "", "X-Api-Key", token, "X-Api-Key", token)},
		{"twice in a header", newRequest(t, "GET", "/", "", "X-Other", other+","+other)},
		{"twice in Basic", newRequest(t, "GET", "/", "", "Authorization", basic(token+":"+token))},
		{"text after it", newRequest(t, "GET", "/", "", "Authorization", "Bearer "+token+" x")},
		{"text joined to it", newRequest(t, "GET", "/", "", "Authorization", "Bearer "+token+"x")},
		{"a list", newRequest(t, "GET", "/", "", "Authorization", "Bearer "+token+", Bearer x")},
		{"a parameter", newRequest(t, "GET", "/", "", "Authorization", `Digest username="`+token+`"`)},
		{"half a quote", newRequest(t, "GET", "/", "", "Authorization", `Bearer "`+token)},
		{"a part of the password", newRequest(t, "GET", "/", "", "Authorization", basic("a:b"+token))},
		{"a user, and a part of the password", newRequest(t, "GET", "/v1/x", "", "Authorization", basic(token+":x"+other))},
		{"a part of the user, and a password", newRequest(t, "GET", "/", "", "Authorization", basic("a"+token+":"+other))},
		{"Basic without a colon", newRequest(t, "GET", "/", "", "Authorization", basic(token))},
		{"Basic that isn't encoded", newRequest(t, "GET", "/", "", "Authorization", "Basic a:"+token)},
		{"a parameter twice", newRequest(t, "GET", "/?key="+shaped+"&key=x", "")},
		{"a parameter twice, encoded", newRequest(t, "GET", "/?key=x&k%65y="+shaped, "")},
		{"twice in a parameter", newRequest(t, "GET", "/?key="+shaped+shaped, "")},
		{"twice in a path", newRequest(t, "GET", "/"+shaped+"/"+shaped, "")},
		{"a form's field twice", newRequest(t, "POST", "/v1/x", "secret="+other+"&secret=x", "Content-Type", "application/x-www-form-urlencoded")},
		{"a JSON key twice", newRequest(t, "POST", "/v1/x", `{"key":"`+other+`","key":"`+other+`"}`, "Content-Type", "application/json")},
	} {
		t.Run(tt.name, func(t *testing.T) { refusal(t, tt.r, "api.example.com", 443) })
	}
}

// Values with line breaks can't be put where they would end a header or a request line, and lengths follow the swap.
func TestAttack_Smuggling(t *testing.T) {
	for _, r := range []*http.Request{
		newRequest(t, "GET", "/", "", "Authorization", "Bearer "+broken), newRequest(t, "GET", "/", "", "Authorization", basic("a:"+broken)),
		newRequest(t, "GET", "/", "", "X-Other", broken), newRequest(t, "GET", "/"+broken, ""),
	} {
		if got := refusal(t, r, "api.example.com", 443); got.Binding != "broken" {
			t.Errorf("%+v", got)
		}
	}
	for _, tt := range []struct{ kind, body, want string }{
		{"application/json", `{"key":"` + broken + `"}`, `{"key":"line\r\nX-Injected: yes"}`},
		{"application/x-www-form-urlencoded", "secret=" + broken, "secret=line%0D%0AX-Injected%3A+yes"},
	} {
		r := newRequest(t, "POST", "/?key="+broken, tt.body, "Content-Type", tt.kind, "Content-Length", "9999")
		r.TransferEncoding = []string{"chunked"}
		if _, err := table(t).Request(r, "api.example.com", 443); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != tt.want || r.ContentLength != int64(len(tt.want)) || r.TransferEncoding != nil || r.URL.RawQuery != "key=line%0D%0AX-Injected%3A+yes" {
			t.Errorf("%s: %q, %d bytes, %v, %s, %v", tt.kind, body, r.ContentLength, r.TransferEncoding, r.URL.RawQuery, err)
		}
		// A value ends with its request.
		b := r.Body.(*buffer)
		text := b.text
		if err := b.Close(); err != nil || strings.Contains(string(text), "line") {
			t.Errorf("the body isn't cleared: %v", err)
		}
	}
	// A header that is folded, as obsolete clients do, doesn't pass net/http's server, and isn't matched across lines.
	r := newRequest(t, "GET", "/", "", "X-Other", other[:20]+"\r\n "+other[20:])
	if s, err := table(t).Request(r, "api.example.com", 443); err == nil && len(s.Bindings) > 0 {
		t.Error("a folded header was swapped")
	}
	for _, name := range []string{"Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "X-Amz-Checksum-Crc32"} {
		r := newRequest(t, "POST", "/v1/x", `{"key":"`+other+`"}`, "Content-Type", "application/json", name, "x")
		refusal(t, r, "api.example.com", 443)
	}
	chunked := newRequest(t, "POST", "/v1/x", `{"key":"`+other+`"`+strings.Repeat(" ", maxBody)+"}", "Content-Type", "application/json")
	chunked.ContentLength = -1
	refusal(t, chunked, "api.example.com", 443)
	long := newRequest(t, "POST", "/v1/x", "{}", "Content-Type", "application/json")
	long.ContentLength = maxBody + 1
	refusal(t, long, "api.example.com", 443)
	dots, err := New(api.Snapshot{Bound: []api.Bound{bound("dots", token, "a/../b", to("path"))}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dots.Request(newRequest(t, "GET", "/"+token, ""), "api.example.com", 443); err == nil {
		t.Error("a value with dots is in the path")
	}
	colon, err := New(api.Snapshot{Bound: []api.Bound{bound("colon", token, "a:b", to())}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := colon.Request(newRequest(t, "GET", "/", "", "Authorization", basic(token+":x")), "api.example.com", 443); err == nil {
		t.Error("a value with a colon is the user")
	}
}

func TestTables(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound []api.Bound
	}{
		{"no placeholder", []api.Bound{bound("a", "", "v", to())}},
		{"short placeholder", []api.Bound{bound("a", "abcde", "v", to())}},
		{"the prefix", []api.Bound{bound("a", api.PlaceholderPrefix, "v", to())}},
		{"the same placeholder", []api.Bound{bound("a", token, "v", to()), bound("b", token, "w", to())}},
	} {
		if _, err := New(api.Snapshot{Bound: tt.bound}); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	tab := table(t)
	request := func() Swapped {
		s, err := tab.Request(newRequest(t, "GET", "/v1/x?key="+shaped, "", "Authorization", "Bearer "+token), "api.example.com", 443)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := request(), request()
	if first.Scrubber() != second.Scrubber() || !slices.Equal(names(first), []string{"token", "shaped"}) {
		t.Errorf("another scrubber, or bindings %v", names(first))
	}
	h := http.Header{"X": {tokenValue + " " + shapedValue + " " + otherValue}}
	if first.Scrubber().Header(h); !strings.HasSuffix(h.Get("X"), " ******** "+otherValue) {
		t.Errorf("scrubbed: %s", h.Get("X"))
	}
	empty, err := New(api.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := empty.Request(newRequest(t, "GET", "/", "", "Authorization", "Bearer x"), "a.org", 443); err != nil || s.Scrubber() != nil {
		t.Errorf("without bindings: %v, %v", names(s), err)
	}
	if _, err := empty.Request(newRequest(t, "GET", "/", "", "Authorization", "Bearer "+foreign), "a.org", 443); err == nil {
		t.Error("without bindings, an unknown placeholder is sent")
	}
}

// Bodies that rules need are limited together, until they are sent. Refused ones don't count.
func TestAttack_ManyBodies(t *testing.T) {
	tab := table(t)
	send := func(overridden bool) (*http.Request, error) {
		r := newRequest(t, "POST", "/v1/x", `{"key":"`+other+`"}`, "Content-Type", "application/json")
		r.ContentLength = -1 // so it may have any length
		if overridden {
			r.Header.Set("X-Http-Method-Override", "DELETE")
		}
		_, err := tab.Request(r, "api.example.com", 443)
		return r, err
	}
	var sent []*http.Request
	for len(sent) < maxReading/maxBody {
		if _, err := send(true); err == nil {
			t.Fatal("a request that overrides its method isn't refused")
		}
		r, err := send(false)
		if err != nil {
			t.Fatalf("request %d: %v", len(sent), err)
		}
		sent = append(sent, r)
	}
	var refused *Refusal
	if _, err := send(false); !errors.As(err, &refused) || !refused.Busy {
		t.Fatalf("got %v, want a refusal until later", err)
	}
	if err := sent[0].Body.Close(); err != nil {
		t.Fatal(err)
	}
	_ = sent[0].Body.Close() // net/http may close it again
	if _, err := send(false); err != nil {
		t.Fatalf("after another one was sent: %v", err)
	}
	if _, err := send(false); !errors.As(err, &refused) || !refused.Busy {
		t.Fatalf("a body counts less than once: %v", err)
	}
}

// A request has values of at most as many bindings as its event can name.
func TestManyBindings(t *testing.T) {
	var set api.Snapshot
	placeholders := make([]string, api.MaxTrafficSwaps+1)
	for i := range placeholders {
		placeholders[i] = token[:len(token)-2] + strconv.Itoa(10+i)
		set.Bound = append(set.Bound, bound("b"+strconv.Itoa(i), placeholders[i], "value-"+strconv.Itoa(i), to("header:Cookie", "header:X-Other")))
	}
	tab, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]int{api.MaxTrafficSwaps: api.MaxTrafficSwaps, len(placeholders): 0} {
		all := strings.Join(placeholders[:n], "; ")
		swapped, err := tab.Request(newRequest(t, "GET", "/", "", "Cookie", all, "X-Other", all), "api.example.com", 443)
		if _, refused := errors.AsType[*Refusal](err); len(swapped.Bindings) != want || refused != (want == 0) {
			t.Errorf("%d: %d bindings, %v", n, len(swapped.Bindings), err)
		}
	}
}
