package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// set sets the mode of the policy of a resource, or of the default.
func setMode(t testing.TB, s *Store, owner Actor, r api.Resource, mode string) api.Policy {
	t.Helper()
	p, err := s.SetPolicy(t.Context(), owner, "", api.PolicyRequest{Resource: r, Mode: &mode})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func allow(t testing.TB, s *Store, owner Actor, n api.NewAllowlistEntry) api.AllowlistEntry {
	t.Helper()
	e, _, err := s.CreateEntry(t.Context(), owner, n)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func policyFor(t testing.TB, s *Store, owner Actor, r api.Resource) *api.NetworkPolicy {
	t.Helper()
	p, err := readNow(t.Context(), s, owner, func(t *txn) (*api.NetworkPolicy, error) { return t.networkPolicy(r) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A resource has its own policy, or the tenant's default; and the entries of all resources, its own, and those of that policy.
func TestNetworkPolicyOfResource(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	allow(t, s, other, api.NewAllowlistEntry{Host: "foreign.example.com"})
	setMode(t, s, other, api.Resource{}, "enforce")
	if diff := cmp.Diff(*policyFor(t, s, owner, box1), api.DefaultPolicy()); diff != "" {
		t.Errorf("nothing is set (-got +want)\n%s", diff)
	}
	all := allow(t, s, owner, api.NewAllowlistEntry{Host: "all.example.com"})
	one := allow(t, s, owner, api.NewAllowlistEntry{Host: "one.example.com", Resource: box1, Effect: "deny", Methods: []string{"POST"}, PathGlob: "/v1/**"})
	fallback := setMode(t, s, owner, api.Resource{}, "enforce")
	own := setMode(t, s, owner, box1, "audit_only")
	ofFallback := allow(t, s, owner, api.NewAllowlistEntry{Host: "default.example.com", PolicyID: fallback.ID})
	ofOwn := allow(t, s, owner, api.NewAllowlistEntry{Host: "own.example.com", PolicyID: own.ID})
	ofBoth := allow(t, s, owner, api.NewAllowlistEntry{Host: "both.example.com", PolicyID: own.ID, Resource: box2})
	rule := func(e api.AllowlistEntry) api.NetworkRule {
		return api.NetworkRule{ID: e.ID, Host: e.Host, Effect: e.Effect, Methods: e.Methods, PathGlob: orEmpty(e.PathGlob)}
	}
	for _, tt := range []struct {
		resource api.Resource
		want     api.NetworkPolicy
	}{
		{box1, api.NetworkPolicy{Mode: "audit_only", DefaultEffect: "deny", PolicyID: own.ID, Rules: []api.NetworkRule{rule(all), rule(one), rule(ofOwn)}}},
		{box2, api.NetworkPolicy{Mode: "enforce", DefaultEffect: "deny", PolicyID: fallback.ID, Rules: []api.NetworkRule{rule(all), rule(ofFallback)}}},
	} {
		if diff := cmp.Diff(*policyFor(t, s, owner, tt.resource), tt.want, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.resource, diff)
		}
	}
	if err := s.DeletePolicy(t.Context(), owner, own.ID); err != nil {
		t.Fatal(err)
	}
	if got := policyFor(t, s, owner, box1); got.PolicyID != fallback.ID || len(got.Rules) != 3 {
		t.Errorf("without its own: %+v", got)
	}
	left, _, err := s.Allowlist(t.Context(), owner, EntryFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if e.ID == ofOwn.ID || e.ID == ofBoth.ID {
			t.Errorf("%s is left of a policy that is gone", e.Host)
		}
	}
}

// A restricted key adds entries only for policies that it sees: other ones don't exist for it.
func TestAttack_EntryOfAnotherPolicy(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	limited := limitedKey(t, s, owner, box1)
	entry := func(id string) error {
		_, _, err := s.CreateEntry(t.Context(), limited, api.NewAllowlistEntry{Host: "a.example.com", Resource: box1, PolicyID: id})
		return err
	}
	absent, unset := entry("pol_none"), entry("default")
	own, others := setMode(t, s, owner, box1, "enforce"), setMode(t, s, owner, box2, "enforce")
	fallback := setMode(t, s, owner, api.Resource{}, "enforce")
	for id, want := range map[string]error{others.ID: absent, fallback.ID: absent, "default": unset} {
		err := entry(id)
		wantKind(t, err, api.ErrNotFound)
		if err.Error() != want.Error() {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
		if _, err := s.Policy(t.Context(), limited, id); err == nil {
			t.Errorf("%s: the key reads it", id)
		}
	}
	if err := entry(own.ID); err != nil {
		t.Error("of its own policy:", err)
	}
	if e := allow(t, s, owner, api.NewAllowlistEntry{Host: "a.example.com", Resource: box1, PolicyID: "default"}); *e.PolicyID != fallback.ID {
		t.Errorf("of the default: %s", *e.PolicyID)
	}
}

// Every change of a policy or entry that applies to a resource wakes the brokers that wait for its set, in other processes too, and
// gives it another etag. A change that changes nothing wakes nobody.
func TestNetworkChangesWakeBrokers(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	var entry api.AllowlistEntry
	var own api.Policy
	enforce, auditOnly := "enforce", "audit_only"
	for i, change := range []struct {
		name string
		do   func(*Store)
	}{
		{"the default is set", func(s *Store) { setMode(t, s, owner, api.Resource{}, enforce) }},
		{"the default is changed", func(s *Store) { setMode(t, s, owner, api.Resource{}, auditOnly) }},
		{"an entry for all", func(s *Store) { entry = allow(t, s, owner, api.NewAllowlistEntry{Host: "a.example.com"}) }},
		{"it is deleted", func(s *Store) {
			if err := s.DeleteEntry(t.Context(), owner, entry.ID); err != nil {
				t.Fatal(err)
			}
		}},
		{"a policy of its own", func(s *Store) { own = setMode(t, s, owner, box1, enforce) }},
		{"an entry of its own", func(s *Store) { allow(t, s, owner, api.NewAllowlistEntry{Host: "b.example.com", Resource: box1}) }},
		{"an entry of its policy", func(s *Store) { allow(t, s, owner, api.NewAllowlistEntry{Host: "c.example.com", PolicyID: own.ID}) }},
		{"the policy is deleted", func(s *Store) {
			if err := s.DeletePolicy(t.Context(), owner, own.ID); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		before, err := s.state(t.Context(), broker, box1)
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan error, 1)
		go func() { woken <- s.Await(t.Context(), broker, box1, before.etag, time.Minute) }()
		change.do([]*Store{s, elsewhere}[i%2])
		if err := <-woken; err != nil {
			t.Errorf("%s: %v", change.name, err)
		}
	}
	before, err := s.state(t.Context(), broker, box1)
	if err != nil {
		t.Fatal(err)
	}
	setMode(t, s, owner, api.Resource{}, auditOnly)
	setMode(t, s, owner, box2, enforce)
	if after, err := s.state(t.Context(), broker, box1); err != nil || after.etag != before.etag {
		t.Errorf("changes of others make another etag, %v", err)
	}
}

// Limits of what a tenant stores.
func TestNetworkLimits(t *testing.T) {
	limits := unlimited
	limits[limit.TenantPolicies], limits[limit.TenantAllowlist] = 2, 2
	s := limitedTo(t, limits)
	owner := tenant(t, s, "acme")
	for i := range 3 {
		_, err := s.SetPolicy(t.Context(), owner, "", api.PolicyRequest{Resource: api.Resource{Type: "sandbox", ID: fmt.Sprint("sb_", i)}})
		_, _, entryErr := s.CreateEntry(t.Context(), owner, api.NewAllowlistEntry{Host: fmt.Sprintf("h%d.example.com", i)})
		if i < 2 && (err != nil || entryErr != nil) {
			t.Fatal(err, entryErr)
		}
		if i == 2 {
			wantLimit(t, err, api.ErrInvalid, "tenant_policies")
			wantLimit(t, entryErr, api.ErrInvalid, "tenant_allowlist")
		}
	}
}
