package api_test

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestEgressRule(t *testing.T) {
	many := strings.Repeat(`"a.example",`, 65)
	for _, tt := range []struct {
		name, rule string
		want       string // substring of the error; "": none
	}{
		{"a host", `{"hosts":["api.github.com"]}`, ""},
		{"all fields", `{"hosts":["*.example.com","192.0.2.1","2001:db8::1"],"ports":[443,8443],"methods":["GET","M-SEARCH"],"paths":["/**","/a/*/b%20c"],
			"slots":["authorization","header:X-Api-Key","query:key","path","json:a.b","form:token","sigv4","sigv4-id","hmac:github"],
			"shape":{"prefix":"ghp_","length":40,"alphabet":"0-9a-zA-Z"}}`, ""},
		{"none", `null`, ""},
		{"an empty one", `{}`, ""},
		{"no methods", `{"hosts":["a.example"],"methods":[]}`, "egress.methods is empty"},
		{"an empty list of hosts", `{"hosts":[]}`, "egress.hosts is empty"},
		{"no hosts", `{"ports":[1]}`, "egress.hosts is required"},
		{"upper case", `{"hosts":["API.github.com"]}`, "egress.hosts may have"},
		{"a port", `{"hosts":["api.github.com:443"]}`, "egress.hosts may have"},
		{"a dot at the end", `{"hosts":["api.github.com."]}`, "egress.hosts may have"},
		{"a URL", `{"hosts":["https://api.github.com"]}`, "egress.hosts has a URL: want a host without a scheme"},
		{"everything", `{"hosts":["*"]}`, "egress.hosts may have"},
		{"a whole top-level domain", `{"hosts":["*.com"]}`, "egress.hosts may have"},
		{"a wildcard within", `{"hosts":["api.*.com"]}`, "egress.hosts may have"},
		{"a zone", `{"hosts":["fe80::1%eth0"]}`, "egress.hosts may have"},
		{"an address in another form", `{"hosts":["0x7f.1"]}`, "egress.hosts may have"},
		{"a number", `{"hosts":["2130706433"]}`, "egress.hosts may have"},
		{"an address with zeros", `{"hosts":["2001:0db8::1"]}`, "egress.hosts may have"},
		{"an international name", `{"hosts":["bücher.example"]}`, "egress.hosts may have"},
		{"a user", `{"hosts":["u@example.com"]}`, "egress.hosts may have"},
		{"too many hosts", `{"hosts":[` + many[:len(many)-1] + `]}`, "egress.hosts has more than 64 items"},
		{"port zero", `{"hosts":["a.example"],"ports":[0]}`, "egress.ports may have"},
		{"a small method", `{"hosts":["a.example"],"methods":["get"]}`, "egress.methods may have"},
		{"a path without a slash", `{"hosts":["a.example"],"paths":["v1/*"]}`, "egress.paths may have"},
		{"a query", `{"hosts":["a.example"],"paths":["/v1?x"]}`, "egress.paths may have"},
		{"a broken escape", `{"hosts":["a.example"],"paths":["/%zz"]}`, "egress.paths may have"},
		{"half an escape", `{"hosts":["a.example"],"paths":["/%"]}`, "egress.paths may have"},
		{"an escape that isn't UTF-8", `{"hosts":["a.example"],"paths":["/caf%E9"]}`, "egress.paths may have"},
		{"half a character", `{"hosts":["a.example"],"paths":["/%C3*%A9"]}`, "egress.paths may have"},
		{"an encoded NUL", `{"hosts":["a.example"],"paths":["/a%00"]}`, "egress.paths may have"},
		{"an unknown scheme", `{"hosts":["a.example"],"slots":["hmac:other"]}`, "egress.slots may have"},
		{"a slot with a name too many", `{"hosts":["a.example"],"slots":["path:x"]}`, "egress.slots may have"},
		{"an unknown slot", `{"hosts":["a.example"],"slots":["body"]}`, "egress.slots may have"},
		{"the host as a slot", `{"hosts":["a.example"],"slots":["header:Host"]}`, "egress.slots may have"},
		{"a header that isn't one", `{"hosts":["a.example"],"slots":["header:X Y"]}`, "egress.slots may have"},
		{"a slot without a name", `{"hosts":["a.example"],"slots":["query:"]}`, "egress.slots may have"},
		{"an empty field of JSON", `{"hosts":["a.example"],"slots":["json:a..b"]}`, "egress.slots may have"},
		{"a misspelled field", `{"hosts":["a.example"],"path":["/v1"]}`, "egress has a field that rules don't have"},
		{"a field of a shape", `{"hosts":["a.example"],"shape":{"suffix":"x"}}`, "egress has a field that rules don't have"},
		{"another type", `{"hosts":"a.example"}`, "egress.hosts has the wrong type"},
		{"a list", `[]`, "egress has the wrong type"},
		{"a text", `"a.example"`, "egress has the wrong type"},
		{"few random bits", `{"hosts":["a.example"],"shape":{"prefix":"k-","length":20}}`, "egress.shape.length must be at least 24"},
		{"few letters", `{"hosts":["a.example"],"shape":{"length":26,"alphabet":"0-9"}}`, "egress.shape.length must be at least 39"},
		{"one letter", `{"hosts":["a.example"],"shape":{"alphabet":"aaa"}}`, "egress.shape.alphabet may have"},
		{"a range from the end", `{"hosts":["a.example"],"shape":{"alphabet":"z-a"}}`, "egress.shape.alphabet may have"},
		{"a range over marks", `{"hosts":["a.example"],"shape":{"alphabet":"!-~"}}`, "egress.shape.alphabet may have"},
		{"a prefix with a space", `{"hosts":["a.example"],"shape":{"prefix":"a b"}}`, "egress.shape.prefix may have"},
		{"a prefix with a quote", `{"hosts":["a.example"],"shape":{"prefix":"a\""}}`, "egress.shape.prefix may have"},
		{"endless", `{"hosts":["a.example"],"shape":{"length":513}}`, "egress.shape.length must be at most 512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := api.ParseEgressRule([]byte(tt.rule))
			if tt.want == "" && err == nil {
				return
			}
			if !errors.Is(err, api.ErrInvalid) || tt.want == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzEgressRule: a rule that is accepted decodes to the same after it was encoded, and its placeholders have 128 random bits.
func FuzzEgressRule(f *testing.F) {
	f.Add([]byte(`{"hosts":["*.example.com"],"ports":[443],"slots":["json:a.b"],"shape":{"prefix":"ghp_","length":40,"alphabet":"0-9a-f"}}`))
	f.Add([]byte(`{"hosts":["::1"],"shape":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := api.ParseEgressRule(text)
		if err != nil || r.IsZero() {
			return
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := api.ParseEgressRule(encoded)
		if diff := cmp.Diff(r, again); err != nil || diff != "" {
			t.Fatalf("%v (-first +again)\n%s", err, diff)
		}
		if r.Shape != nil {
			letters, length := r.Shape.Random()
			if bits := float64(length) * math.Log2(float64(len(letters))); bits < 128 {
				t.Fatalf("%d of %q: %v bits", length, letters, bits)
			}
		}
	})
}

func TestShapeAlphabet(t *testing.T) {
	for alphabet, want := range map[string]string{"": `^[0-9A-Za-z]{62}$`, "0-9a-f": `^0123456789abcdef$`, "ba-": `^-ab$`, "a-ca": `^abc$`, "+/": `^\+/$`} {
		letters, _ := (&api.EgressShape{Alphabet: alphabet}).Random()
		if !regexp.MustCompile(want).MatchString(letters) {
			t.Errorf("%q: %q", alphabet, letters)
		}
	}
}

// brokerSet is the set of a broker key.
func brokerSet() api.Snapshot {
	s := snapshot(bound(2))
	for i := range s.Bound {
		s.Bound[i].Delivery = api.DeliverPlaceholder
		s.Bound[i].Egress = &api.Egress{Placeholder: "ghp_<&>", Rules: []api.EgressRule{{Hosts: []string{"api.github.com"}, Slots: []string{"json:<&>"}}}}
	}
	s.Policy = &api.NetworkPolicy{Mode: "enforce", DefaultEffect: "deny", Rules: []api.NetworkRule{{ID: "r", Host: "*.example.com", Effect: "allow"}}}
	s.Etag = api.EtagWithPolicy(s.Resource, api.Labels(s.Bound), s.Policy)
	return s
}

// The set of a broker key decodes to the same, also through a seal, and an agent's has none of its fields.
func TestBrokerSet(t *testing.T) {
	want := brokerSet()
	got, err := api.DecodeSnapshot(encode(t, want), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := opener(t, sandbox)
	to, err := api.NewSealer(sandbox, o.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := to.Seal(want.Bound, want.Policy)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := o.Open(answer)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]api.Snapshot{"decoded": got, "opened": opened} {
		if diff := cmp.Diff(flatten(s.Bound), flatten(want.Bound)) + cmp.Diff(s.Policy, want.Policy); diff != "" || s.Etag != want.Etag {
			t.Errorf("%s: etag %s, want %s (-got +want)\n%s", what, s.Etag, want.Etag, diff)
		}
	}
	if header, _ := snapshot(bound(1)).Header(); strings.Contains(string(header), "egress") || strings.Contains(string(header), "policy") {
		t.Errorf("an agent's set: %s", header)
	}
}

// The etag depends on everything that a broker gets beside values.
func TestEtagOfABroker(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*api.Snapshot){
		"the set itself": func(*api.Snapshot) {},
		"no egress":      func(s *api.Snapshot) { s.Bound[0].Egress = nil },
		"placeholder":    func(s *api.Snapshot) { s.Bound[0].Egress.Placeholder += "x" },
		"no rules":       func(s *api.Snapshot) { s.Bound[0].Egress.Rules = nil },
		"host":           func(s *api.Snapshot) { s.Bound[0].Egress.Rules[0].Hosts[0] = "evil.example" },
		"slot":           func(s *api.Snapshot) { s.Bound[0].Egress.Rules[0].Slots = nil },
		"one more rule": func(s *api.Snapshot) {
			s.Bound[0].Egress.Rules = append(s.Bound[0].Egress.Rules, s.Bound[0].Egress.Rules[0])
		},
		"no policy":        func(s *api.Snapshot) { s.Policy = nil },
		"mode":             func(s *api.Snapshot) { s.Policy.Mode = "audit_only" },
		"rule of a policy": func(s *api.Snapshot) { s.Policy.Rules[0].Effect = "deny" },
	} {
		s := brokerSet()
		change(&s)
		etag := api.EtagWithPolicy(s.Resource, api.Labels(s.Bound), s.Policy)
		if other, ok := seen[etag]; ok {
			t.Errorf("%s: same etag as %s", name, other)
		}
		seen[etag] = name
	}
	changed := brokerSet()
	changed.Bound[0].Egress.Rules[0].Hosts[0] = "other.example"
	if c := api.CompareLabels(api.Labels(brokerSet().Bound), api.Labels(changed.Bound)); len(c.Changed) != 1 || len(c.Added)+len(c.Removed) != 0 {
		t.Errorf("changes %+v", c)
	}
	if c := api.CompareLabels(api.Labels(brokerSet().Bound), api.Labels(brokerSet().Bound)); len(c.Changed) != 0 {
		t.Errorf("the same rules: changes %+v", c)
	}
}
