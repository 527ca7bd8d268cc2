package rule

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func compiledRules(t testing.TB, rules ...api.EgressRule) Rules {
	t.Helper()
	r, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	secret := api.EgressRule{Hosts: []string{"api.github.com", "*.example.com", "10.1.2.3", "::1"}, Ports: []int{443, 8443}}
	binding := api.EgressRule{Hosts: []string{"api.github.com", "a.example.com", "b.org", "::1"}, Ports: []int{8443, 443}, Methods: []string{"GET", "POST"}, Paths: []string{"/repos/**", "/user"}}
	for _, tt := range []struct {
		name         string
		rules        []api.EgressRule
		host         string
		port         int
		method, path string
		denied       string
	}{
		{"no rules", nil, "api.github.com", 443, "GET", "/", "egress: no rule"},
		{"exact host", []api.EgressRule{secret}, "api.github.com", 443, "DELETE", "/any", ""},
		{"subdomain", []api.EgressRule{secret}, "a.b.example.com", 443, "GET", "/", ""},
		{"the domain itself", []api.EgressRule{secret}, "example.com", 443, "GET", "/", "egress.hosts: api.github.com, *.example.com, 10.1.2.3, ::1"},
		{"end of another name", []api.EgressRule{secret}, "badexample.com", 443, "GET", "/", "egress.hosts: api.github.com, *.example.com, 10.1.2.3, ::1"},
		{"host before a domain", []api.EgressRule{secret}, "api.github.com.evil.org", 443, "GET", "/", "egress.hosts: api.github.com, *.example.com, 10.1.2.3, ::1"},
		{"no host", []api.EgressRule{secret}, "", 443, "GET", "/", "egress.hosts: api.github.com, *.example.com, 10.1.2.3, ::1"},
		{"address", []api.EgressRule{secret}, "10.1.2.3", 8443, "GET", "/", ""},
		{"IPv6", []api.EgressRule{secret}, "::1", 443, "GET", "/", ""},
		{"port", []api.EgressRule{secret}, "api.github.com", 80, "GET", "/", "egress.ports: 443, 8443"},
		{"default port", []api.EgressRule{{Hosts: []string{"a.org"}}}, "a.org", 8443, "GET", "/", "egress.ports: 443"},
		{"both rules", []api.EgressRule{secret, binding}, "a.example.com", 8443, "POST", "/repos/a/b", ""},
		{"host of the second only", []api.EgressRule{secret, binding}, "b.org", 443, "GET", "/user", "egress.hosts: api.github.com, *.example.com, 10.1.2.3, ::1"},
		{"host of the first only", []api.EgressRule{secret, binding}, "c.example.com", 443, "GET", "/user", "egress.hosts: api.github.com, a.example.com, b.org, ::1"},
		{"method", []api.EgressRule{secret, binding}, "a.example.com", 443, "DELETE", "/user", "egress.methods: GET, POST"},
		{"method in lower case", []api.EgressRule{secret, binding}, "a.example.com", 443, "get", "/user", "egress.methods: GET, POST"},
		{"path", []api.EgressRule{secret, binding}, "a.example.com", 443, "GET", "/orgs", "egress.paths: /repos/**, /user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := compiledRules(t, tt.rules...)
			if diff := cmp.Diff(tt.denied, r.Denied(tt.host, tt.port, tt.method, tt.path)); diff != "" {
				t.Errorf("Denied (-want +got):\n%s", diff)
			}
			if got := r.Host(tt.host, tt.port) && r.Request(tt.method, tt.path); got != (tt.denied == "") {
				t.Errorf("Host and Request allow it: %v", got)
			}
		})
	}
}

func TestNames(t *testing.T) {
	secret := api.EgressRule{Hosts: []string{"a.org", "*.example.com", "169.254.1.1"}, Ports: []int{443, 8443}}
	binding := api.EgressRule{Hosts: []string{"db.example.com", "*.b.example.com", "b.org"}, Ports: []int{443}}
	for _, tt := range []struct {
		rules []api.EgressRule
		host  string
		port  int
		want  bool
	}{
		{nil, "a.org", 443, false},
		{[]api.EgressRule{secret}, "a.org", 8443, true},
		{[]api.EgressRule{secret}, "a.org", 6379, false},
		{[]api.EgressRule{secret}, "169.254.1.1", 443, true},
		{[]api.EgressRule{secret}, "db.example.com", 443, false},
		{[]api.EgressRule{secret, binding}, "db.example.com", 443, true},
		{[]api.EgressRule{secret, binding}, "db.example.com", 8443, false},
		{[]api.EgressRule{secret, binding}, "c.b.example.com", 443, false},
		{[]api.EgressRule{secret, binding}, "b.org", 443, false}, // the secret's rule doesn't allow it
	} {
		if got := compiledRules(t, tt.rules...).Names(tt.host, tt.port); got != tt.want {
			t.Errorf("%v names %s port %d: got %t", tt.rules, tt.host, tt.port, got)
		}
	}
}

func TestSlots(t *testing.T) {
	slots := func(texts ...string) []api.EgressRule {
		return []api.EgressRule{{Hosts: []string{"a.org"}, Slots: texts}}
	}
	all := []string{"authorization", "header:X-Odd_name", "query:key", "path", "json:auth.key", "form:client_secret", "sigv4", "sigv4-id", "hmac:github", "hmac:stripe", "hmac:slack"}
	r := compiledRules(t, slots(all...)...)
	for _, text := range all {
		s, err := ParseSlot(text)
		if err != nil || s.String() != text || !r.Allows(s) {
			t.Errorf("%s: %v, %v, allowed: %v", text, s, err, r.Allows(s))
		}
	}
	lower, err := ParseSlot("header:x-api-key")
	if err != nil || lower.String() != "header:X-Api-Key" {
		t.Errorf("a header in lower case is %v, %v", lower, err)
	}
	for _, text := range []string{"", "header:", "header", "body", "path:x", "hmac:", "hmac:other", "sigv4-", "authorization:x", "path:", "Authorization", "json:a..b", "header:Host", "header:a b"} {
		if s, err := ParseSlot(text); err == nil {
			t.Errorf("%q is the slot %v", text, s)
		}
	}
	standard := compiledRules(t, slots()...)
	both := compiledRules(t, append(slots("path", "authorization"), slots("query:a", "authorization")...)...)
	for _, tt := range []struct {
		name  string
		rules Rules
		slot  Slot
		want  bool
	}{
		{"default header", standard, lower, true},
		{"default authorization", standard, Slot{Kind: Authorization}, true},
		{"another header", standard, Slot{Kind: Header, Name: "User-Agent"}, false},
		{"the path", standard, Slot{Kind: PathText}, false},
		{"of both rules", both, Slot{Kind: Authorization}, true},
		{"of one rule", both, Slot{Kind: PathText}, false},
		{"default with others", both, lower, false},
		{"no rule", Rules{}, Slot{Kind: Authorization}, false},
	} {
		if got := tt.rules.Allows(tt.slot); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if diff := cmp.Diff([]Slot{{Kind: Authorization}}, both.Slots()); diff != "" {
		t.Errorf("Slots (-want +got):\n%s", diff)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule api.EgressRule
		want string
	}{
		{"no hosts", api.EgressRule{}, "egress.hosts"},
		{"a host with a port", api.EgressRule{Hosts: []string{"a.org:443"}}, "egress.hosts"},
		{"all hosts", api.EgressRule{Hosts: []string{"*"}}, "egress.hosts"},
		{"a pattern within a label", api.EgressRule{Hosts: []string{"a*.org"}}, "egress.hosts"},
		{"a pattern of addresses", api.EgressRule{Hosts: []string{"*.2.3.4"}}, "egress.hosts"},
		{"an unusual address", api.EgressRule{Hosts: []string{"127.1"}}, "egress.hosts"},
		{"an invalid path", api.EgressRule{Hosts: []string{"a.org"}, Paths: []string{"/%zz"}}, "egress.paths"},
		{"an unknown slot", api.EgressRule{Hosts: []string{"a.org"}, Slots: []string{"body"}}, "egress.slots"},
		{"port 0", api.EgressRule{Hosts: []string{"a.org"}, Ports: []int{0}}, "egress.ports"},
	} {
		if _, err := Compile([]api.EgressRule{tt.rule}); !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("api.github.com", "/repos/*/x/**", "header:X-Api-Key", "API.github.com.", "/repos/a/x/y")
	f.Add("*.example.com", "/a%2Fb/*", "json:a.b", "a.example.com", "/a%2Fb/..")
	f.Add("::1", "/**", "path", "[::1]", "//")
	f.Fuzz(func(t *testing.T, hostPattern, pathPattern, slot, text, path string) {
		r, err := Compile([]api.EgressRule{{Hosts: []string{hostPattern}, Paths: []string{pathPattern}, Slots: []string{slot}}})
		if err != nil {
			return
		}
		if s, err := ParseSlot(slot); err != nil || !r.Allows(s) {
			t.Errorf("slot %q: %v, %v", slot, s, err)
		}
		host, err := Host(text)
		if err != nil {
			return
		}
		domain, wild := strings.CutPrefix(hostPattern, "*")
		if want := host == hostPattern || wild && strings.HasSuffix(host, domain) && host != domain[1:]; r.Host(host, 443) != want {
			t.Errorf("%q allows %q: %v", hostPattern, host, !want)
		}
		if r.Request("GET", path) && (strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") || strings.Contains(strings.ToLower(path), "%2e%2e/")) {
			t.Errorf("%q allows %q", pathPattern, path)
		}
	})
}
