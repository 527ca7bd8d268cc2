package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/policy"
	"github.com/Miosa-osa/miosa-env/egress/rule"
)

func compile(t testing.TB, mode, fallback string, rules ...api.NetworkRule) policy.Policy {
	t.Helper()
	p, err := policy.Compile(&api.NetworkPolicy{Mode: mode, DefaultEffect: fallback, PolicyID: "pol_1", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rules are for the table below.
var rules = []api.NetworkRule{
	{ID: "exact", Host: "api.example.com", Effect: "allow"},
	{ID: "wild", Host: "*.example.com", Effect: "allow", Methods: []string{"GET", "HEAD"}},
	{ID: "bad", Host: "bad.example.com", Effect: "deny"},
	{ID: "admin", Host: "api.example.com", Effect: "deny", PathGlob: "/admin/**"},
	{ID: "repos", Host: "code.example.org", Effect: "allow", Methods: []string{"GET"}, PathGlob: "/repos/*"},
	{ID: "net", Host: "192.0.2.0/24", Effect: "allow"},
	{ID: "one", Host: "192.0.2.7", Effect: "deny"},
	{ID: "six", Host: "2001:db8::/32", Effect: "allow"},
}

func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name, host, method, path string
		verdict, by              string
	}{
		{"exact", "api.example.com", "POST", "/v1", "allow", "exact"},
		{"the first of two that allow", "api.example.com", "GET", "/v1", "allow", "exact"},
		{"a path that is denied", "api.example.com", "GET", "/admin/users", "deny", "admin"},
		{"a path that may lead there", "api.example.com", "GET", "/v1/../admin/users", "deny", "admin"},
		{"encoded twice", "api.example.com", "GET", "/%2561dmin/users", "deny", "admin"},
		{"with an encoded slash", "api.example.com", "GET", "/admin%2Fusers", "deny", "admin"},
		{"with two slashes", "api.example.com", "GET", "//admin/users", "deny", "admin"},
		{"with a parameter", "api.example.com", "GET", "/admin;a=b/users", "deny", "admin"},
		{"so encoded", "api.example.com", "GET", "/v1/%2e%2e/admin/users", "deny", "admin"},
		{"subdomain", "a.example.com", "GET", "/", "allow", "wild"},
		{"subdomain of one", "a.b.example.com", "HEAD", "/", "allow", "wild"},
		{"another method", "a.example.com", "POST", "/", "deny", ""},
		{"a method in lower case", "a.example.com", "get", "/", "allow", "wild"},
		{"not its own subdomain", "example.com", "GET", "/", "deny", ""},
		{"similar", "badexample.com", "GET", "/", "deny", ""},
		{"deny wins over a wider allow", "bad.example.com", "GET", "/", "deny", "bad"},
		{"deny is exact", "a.bad.example.com", "GET", "/", "allow", "wild"},
		{"method and path", "code.example.org", "GET", "/repos/a", "allow", "repos"},
		{"another path", "code.example.org", "GET", "/repos/a/b", "deny", ""},
		{"a path that may lead elsewhere", "code.example.org", "GET", "/repos/..", "deny", ""},
		{"network", "192.0.2.1", "GET", "/", "allow", "net"},
		{"an address in it", "192.0.2.7", "GET", "/", "deny", "one"},
		{"its form of NAT64", "64:ff9b::c000:207", "GET", "/", "deny", "one"},
		{"its mapped form", "::ffff:192.0.2.7", "GET", "/", "deny", "one"},
		{"a form of NAT64 in the network", "64:ff9b::c000:201", "GET", "/", "allow", "net"},
		{"another address", "192.0.3.1", "GET", "/", "deny", ""},
		{"IPv6", "2001:db8::1", "GET", "/", "allow", "six"},
		{"another one", "2001:db9::1", "GET", "/", "deny", ""},
		{"a name is in no network", "192.0.2.1.example.net", "GET", "/", "deny", ""},
		{"unknown", "other.example.net", "GET", "/", "deny", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := policy.Decision{Effect: tt.verdict, Verdict: tt.verdict, RuleID: tt.by, PolicyID: "pol_1"}
			if diff := cmp.Diff(compile(t, "enforce", "deny", rules...).Decide(tt.host, tt.method, tt.path), want); diff != "" {
				t.Errorf("enforce, deny (-got +want)\n%s", diff)
			}
			observed := compile(t, "audit_only", "deny", rules...).Decide(tt.host, tt.method, tt.path)
			named := strings.HasSuffix(tt.host, ".example.com") || tt.host == "code.example.org" || tt.by != ""
			audited := want
			if audited.Effect = "allow"; !named {
				audited.Verdict, audited.Pending = "pending", true
			}
			if diff := cmp.Diff(observed, audited); diff != "" {
				t.Errorf("audit_only, deny (-got +want)\n%s", diff)
			}
			if want.RuleID == "" {
				want.Effect, want.Verdict = "allow", "allow"
			}
			for _, mode := range []string{"enforce", "audit_only"} {
				got := compile(t, mode, "allow", rules...).Decide(tt.host, tt.method, tt.path)
				if mode == "audit_only" {
					want.Effect = "allow"
				}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("%s, allow (-got +want)\n%s", mode, diff)
				}
			}
		})
	}
}

// A connection that isn't decrypted passes if each of its requests would.
func TestDecideHost(t *testing.T) {
	p := compile(t, "enforce", "deny", rules...)
	for _, tt := range []struct {
		host, effect, by string
		needs            bool
	}{
		{"api.example.com", "deny", "admin", true},
		{"a.example.com", "deny", "", true},
		{"bad.example.com", "deny", "bad", true},
		{"192.0.2.1", "allow", "net", false},
		{"192.0.2.7", "deny", "one", false},
		{"other.example.net", "deny", "", false},
	} {
		d := p.DecideHost(tt.host)
		if d.Effect != tt.effect || d.RuleID != tt.by || p.NeedsRequest(tt.host) != tt.needs {
			t.Errorf("%s: %+v, needs %v", tt.host, d, p.NeedsRequest(tt.host))
		}
	}
}

// Nobody has set a policy: everything passes, and is to be decided. Without even that, nothing does.
func TestDefaults(t *testing.T) {
	p, err := policy.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Decision{Effect: "allow", Verdict: "pending", Pending: true}
	if diff := cmp.Diff(p.Decide("a.example.com", "GET", "/"), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if d := (policy.Policy{}).Decide("a.example.com", "GET", "/"); d.Effect != "deny" {
		t.Errorf("the zero policy: %+v", d)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy api.NetworkPolicy
	}{
		{"mode", api.NetworkPolicy{Mode: "observe", DefaultEffect: "deny"}},
		{"default effect", api.NetworkPolicy{Mode: "enforce", DefaultEffect: "drop"}},
		{"effect", one(api.NetworkRule{Host: "a.org", Effect: "drop"})},
		{"host", one(api.NetworkRule{Host: "a.org:443", Effect: "deny"})},
		{"empty host", one(api.NetworkRule{Effect: "deny"})},
		{"pattern", one(api.NetworkRule{Host: "a.*.org", Effect: "deny"})},
		{"network", one(api.NetworkRule{Host: "192.0.2.0/33", Effect: "deny"})},
		{"path", one(api.NetworkRule{Host: "a.org", Effect: "deny", PathGlob: "a/b"})},
	} {
		if _, err := policy.Compile(&tt.policy); err == nil {
			t.Errorf("%s: compiles", tt.name)
		}
	}
}

func one(r api.NetworkRule) api.NetworkPolicy {
	return api.NetworkPolicy{Mode: "enforce", DefaultEffect: "deny", Rules: []api.NetworkRule{r}}
}

// An entry that the vault accepts compiles: otherwise a broker could use nothing of the set that has it.
func FuzzCompile(f *testing.F) {
	for _, path := range []string{"", "/a*", "/**/%C3%A9/*", "/%2F%2A*", "/caf%E9", "/%C3*%A9"} {
		f.Add("*.example.com", path, "GET")
	}
	f.Add("192.0.2.0/24", "", "M-SEARCH")
	f.Add("[2001:db8::1]", "", "")
	f.Fuzz(func(t *testing.T, host, path, method string) {
		e := api.NewAllowlistEntry{Host: host, PathGlob: path}
		if method != "" {
			e.Methods = []string{method}
		}
		if e.Complete() != nil {
			return
		}
		compile(t, "enforce", "deny", api.NetworkRule{Host: e.Host, Effect: e.Effect, Methods: e.Methods, PathGlob: e.PathGlob})
	})
}

// Decisions are those of a plain search of the rules, and what is said of a host holds for each of its requests.
func FuzzDecide(f *testing.F) {
	f.Add("api.example.com allow\n*.example.com deny GET /a/*", "api.example.com", "GET", "/a/b", true, true)
	f.Add("192.0.2.0/24 allow\n192.0.2.1 deny", "192.0.2.1", "POST", "/", false, true)
	f.Add("2001:db8::/32 deny PUT", "2001:db8::1", "PUT", "/%2e%2e/x", true, false)
	f.Add("example.com allow GET,HEAD /**", "example.com", "HEAD", "/x", false, false)
	f.Fuzz(func(t *testing.T, text, host, method, path string, enforce, allow bool) {
		host, err := rule.Host(host)
		if err != nil {
			return
		}
		p := api.NetworkPolicy{Mode: "audit_only", DefaultEffect: "deny"}
		if enforce {
			p.Mode = "enforce"
		}
		if allow {
			p.DefaultEffect = "allow"
		}
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			entry := api.NewAllowlistEntry{}
			for i, w := range words {
				switch {
				case i == 0:
					entry.Host = w
				case i == 1:
					entry.Effect = w
				case strings.HasPrefix(w, "/"):
					entry.PathGlob = w
				default:
					entry.Methods = strings.Split(w, ",")
				}
			}
			if entry.Complete() != nil {
				continue
			}
			p.Rules = append(p.Rules, api.NetworkRule{ID: fmt.Sprint(len(p.Rules)), Host: entry.Host, Effect: entry.Effect, Methods: entry.Methods, PathGlob: entry.PathGlob})
		}
		compiled, err := policy.Compile(&p)
		if err != nil {
			t.Fatalf("the vault takes what doesn't compile: %v: %+v", err, p)
		}
		got, want := compiled.Decide(host, method, path), search(p, host, method, path)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%+v\n%s %s %s (-got +want)\n%s", p, host, method, path, diff)
		}
		switch all := compiled.DecideHost(host); {
		case !compiled.NeedsRequest(host) && all != got:
			t.Errorf("the host %+v, a request %+v", all, got)
		case all.Effect == "allow" && got.Effect != "allow":
			t.Errorf("the host is allowed, and a request isn't: %+v", got)
		}
	})
}

// search is Decide as its documentation says it.
func search(p api.NetworkPolicy, host, method, path string) policy.Decision {
	d := policy.Decision{PolicyID: p.PolicyID, Verdict: p.DefaultEffect}
	named := false
	for _, effect := range []string{"deny", "allow"} {
		for _, r := range p.Rules {
			if !r.Matches(host) {
				continue
			}
			named = true
			matches := len(r.Methods) == 0
			for _, m := range r.Methods {
				matches = matches || strings.EqualFold(m, method)
			}
			if r.PathGlob != "" {
				glob, _ := rule.ParsePath(r.PathGlob)
				all, _ := rule.ParsePath("/**")
				matches = matches && (glob.Matches(path) || effect == "deny" && !all.Matches(path))
			}
			if matches && r.Effect == effect && d.RuleID == "" {
				d.RuleID, d.Verdict = r.ID, effect
			}
		}
	}
	d.Effect = d.Verdict
	if p.Mode == "audit_only" {
		if d.Effect = "allow"; !named && d.Verdict == "deny" {
			d.Verdict, d.Pending = "pending", true
		}
	}
	return d
}
