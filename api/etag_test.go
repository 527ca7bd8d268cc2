package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

func labels(n int) []api.Label {
	out := []api.Label{}
	for _, b := range bound(n) {
		out = append(out, b.Label)
	}
	return out
}

func TestEtagNamesTheSet(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	elsewhere := expires.In(time.FixedZone("east", 3600))
	base := labels(3)
	base[1].ExpiresAt = &expires
	first := api.Etag(sandbox, base)
	seen := map[string]string{first: "the set itself"}
	for _, tt := range []struct {
		name   string
		change func(r *api.Resource, l *[]api.Label)
	}{
		{"resource id", func(r *api.Resource, _ *[]api.Label) { r.ID = "sb_2" }},
		{"resource type", func(r *api.Resource, _ *[]api.Label) { r.Type = api.Computer }},
		{"binding id", func(_ *api.Resource, l *[]api.Label) { (*l)[1].ID += "x" }},
		{"secret id", func(_ *api.Resource, l *[]api.Label) { (*l)[1].SecretID += "x" }},
		{"name", func(_ *api.Resource, l *[]api.Label) { (*l)[1].ExposeAsEnv += "X" }},
		{"version", func(_ *api.Resource, l *[]api.Label) { (*l)[1].Version++ }},
		{"delivery", func(_ *api.Resource, l *[]api.Label) { (*l)[1].Delivery = api.DeliverPlaceholder }},
		{"expiry gone", func(_ *api.Resource, l *[]api.Label) { (*l)[1].ExpiresAt = nil }},
		{"one fewer", func(_ *api.Resource, l *[]api.Label) { *l = (*l)[:2] }},
		{"none", func(_ *api.Resource, l *[]api.Label) { *l = nil }},
		{"one twice", func(_ *api.Resource, l *[]api.Label) { *l = append(*l, (*l)[0]) }},
		{"reordered", func(_ *api.Resource, l *[]api.Label) { slices.Reverse(*l) }},
		{"a letter moved", func(_ *api.Resource, l *[]api.Label) { (*l)[0].ID, (*l)[0].SecretID = "bnd_0s", "ec_0" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, l := sandbox, slices.Clone(base)
			tt.change(&r, &l)
			etag := api.Etag(r, l)
			if other, ok := seen[etag]; ok {
				t.Errorf("same etag as %s", other)
			}
			seen[etag] = tt.name
		})
	}
	again := slices.Clone(base)
	again[1].ExpiresAt = &elsewhere
	if api.Etag(sandbox, again) != first {
		t.Error("the same instant in another zone changes the etag")
	}
}

// FuzzEtag: two sets have the same etag only if they are equal.
func FuzzEtag(f *testing.F) {
	f.Add("a", "b", "C", int64(1), "a", "b", "C", int64(1))
	f.Add("ab", "", "C", int64(1), "a", "b", "C", int64(1))
	f.Add("a", "b1", "C", int64(1), "a", "b", "C", int64(11))
	f.Add("a\x00", "b", "C", int64(0), "a", "\x00b", "C", int64(0))
	f.Fuzz(func(t *testing.T, id1, secret1, name1 string, version1 int64, id2, secret2, name2 string, version2 int64) {
		a := api.Label{ID: id1, SecretID: secret1, ExposeAsEnv: name1, Version: version1}
		b := api.Label{ID: id2, SecretID: secret2, ExposeAsEnv: name2, Version: version2}
		if got, want := api.Etag(sandbox, []api.Label{a}) == api.Etag(sandbox, []api.Label{b}), a == b; got != want {
			t.Fatalf("same etag = %v, want %v: %+v and %+v", got, want, a, b)
		}
	})
}
