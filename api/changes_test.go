package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestCompareLabels(t *testing.T) {
	soon := time.Now()
	label := func(name, secret string, version int64) api.Label {
		return api.Label{ID: "bnd_" + name, SecretID: secret, ExposeAsEnv: name, Version: version}
	}
	expiring := label("A", "s1", 1)
	expiring.ExpiresAt = &soon
	for _, tt := range []struct {
		name        string
		before, now []api.Label
		want        api.Changes
	}{
		{"nothing", nil, nil, api.Changes{}},
		{"the same", []api.Label{label("A", "s1", 1)}, []api.Label{label("A", "s1", 1)}, api.Changes{}},
		{"only when it expires", []api.Label{label("A", "s1", 1)}, []api.Label{expiring}, api.Changes{}},
		{"all kinds, by name", []api.Label{label("D", "s4", 1), label("B", "s2", 1), label("A", "s1", 1)},
			[]api.Label{label("E", "s5", 7), label("C", "s3", 2), label("B", "s2", 3), label("A", "s1", 1)},
			api.Changes{
				Added:   []api.Variable{{Name: "C", Version: 2}, {Name: "E", Version: 7}},
				Changed: []api.Variable{{Name: "B", Version: 3}},
				Removed: []api.Variable{{Name: "D"}},
			}},
		{"another secret of the same version", []api.Label{label("A", "s1", 1)}, []api.Label{label("A", "s2", 1)},
			api.Changes{Changed: []api.Variable{{Name: "A", Version: 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(api.CompareLabels(tt.before, tt.now), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}
