package hub_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/hub"
)

// A change wakes those that wait for what it concerns, once each, and nobody after the end of a subscription.
func TestWake(t *testing.T) {
	one, two := api.Resource{Type: api.Sandbox, ID: "sb_1"}, api.Resource{Type: api.Sandbox, ID: "sb_2"}
	h, woken, end := hub.New(), map[string]int{}, map[string]func(){}
	for name, topic := range map[string]hub.Topic{
		"a 1": {Tenant: "a", Resource: one}, "a 1 too": {Tenant: "a", Resource: one}, "a 2": {Tenant: "a", Resource: two}, "a": {Tenant: "a"},
		"b 1": {Tenant: "b", Resource: one},
	} {
		end[name] = h.Subscribe(topic, func() { woken[name]++ })
	}
	ofA := func(t hub.Topic) bool { return t.Tenant == "a" }
	for _, tt := range []struct {
		name string
		wake func()
		want []string
	}{
		{"a resource", func() { h.Wake(slices.Values([]hub.Topic{{Tenant: "a", Resource: one}})) }, []string{"a 1", "a 1 too"}},
		{"a tenant", func() { h.Wake(slices.Values([]hub.Topic{{Tenant: "a"}})) }, []string{"a", "a 1", "a 1 too", "a 2"}},
		{"others", func() { h.Wake(slices.Values([]hub.Topic{{Tenant: "b", Resource: two}, {Tenant: "c"}})) }, nil},
		{"a condition", func() { h.WakeIf(ofA) }, []string{"a", "a 1", "a 1 too", "a 2"}},
		{"one has ended", func() { end["a 1"](); h.WakeIf(ofA) }, []string{"a", "a 1 too", "a 2"}},
	} {
		clear(woken)
		tt.wake()
		if diff := cmp.Diff(tt.want, slices.Sorted(maps.Keys(woken))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
		for name, n := range woken {
			if n != 1 {
				t.Errorf("%s: %s was woken %d times", tt.name, name, n)
			}
		}
	}
	for _, end := range end {
		end()
	}
	if n := h.Topics(); n != 0 {
		t.Errorf("%d topics are left", n)
	}
}
