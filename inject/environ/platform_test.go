package environ_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// byPlatform returns a binding whose variable the platform sets.
func byPlatform(id, name string) api.Bound {
	return api.Bound{Label: api.Label{ID: id, SecretID: "sec_" + id, ExposeAsEnv: name, Version: 1, Delivery: api.DeliverPlatform}}
}

// TestPlatformVariables checks that a variable that the platform sets is taken from the inherited environment
// unchanged, and that flags apply to it as to other bindings.
func TestPlatformVariables(t *testing.T) {
	inherited := []string{"PATH=/bin", "TOKEN=miosa-tok-1", "TOKEN=second", "EMPTY=", "MIOSA_API_KEY=msk_r_aaaaaaaaaaaaaaaa", "SHELLSHOCK=() { :; }"}
	value := api.Bound{Label: api.Label{ID: "v", SecretID: "sec_v", ExposeAsEnv: "VALUE", Version: 1, Delivery: api.DeliverValue}, Value: api.NewValue([]byte("v"))}
	for _, tt := range []struct {
		name   string
		e      environ.Environment
		want   []string // names and values in Built.Bound
		kept   []string // names in warnings
		absent []string
		refuse string
	}{
		{name: "inherited", e: environ.Environment{Bound: []api.Bound{byPlatform("1", "TOKEN"), value}}, want: []string{"TOKEN=miosa-tok-1", "VALUE=v"}, kept: []string{"TOKEN"}},
		{name: "pristine", e: environ.Environment{Pristine: true, Bound: []api.Bound{byPlatform("1", "TOKEN")}}, want: []string{"TOKEN=miosa-tok-1"}, kept: []string{"TOKEN"}},
		{name: "prefix", e: environ.Environment{Prefix: "APP_", Bound: []api.Bound{byPlatform("1", "TOKEN")}}, want: []string{"APP_TOKEN=miosa-tok-1"}, kept: []string{"APP_TOKEN"}},
		{name: "left out", e: environ.Environment{Only: []string{"VALUE"}, Bound: []api.Bound{byPlatform("1", "ABSENT"), value}}, want: []string{"VALUE=v"}},
		{name: "preserved", e: environ.Environment{PreserveEnv: true, Bound: []api.Bound{byPlatform("1", "TOKEN")}}},
		{name: "absent", e: environ.Environment{Bound: []api.Bound{byPlatform("1", "ABSENT"), byPlatform("2", "TOKEN"), byPlatform("3", "GONE")}}, absent: []string{"ABSENT", "GONE"}},
		{name: "empty", e: environ.Environment{Bound: []api.Bound{byPlatform("1", "EMPTY")}}, absent: []string{"EMPTY"}},
		{name: "absent under a prefix", e: environ.Environment{Prefix: "APP_", Bound: []api.Bound{byPlatform("1", "ABSENT")}}, absent: []string{"ABSENT"}},
		{name: "absent, and nothing to preserve", e: environ.Environment{PreserveEnv: true, Bound: []api.Bound{byPlatform("1", "ABSENT")}}, absent: []string{"ABSENT"}},
		{name: "a key of ours", e: environ.Environment{Prefix: "APP_", KeepKey: true, Bound: []api.Bound{byPlatform("1", "MIOSA_API_KEY")}}, absent: []string{"MIOSA_API_KEY"}},
		{name: "a name that runs code", e: environ.Environment{Bound: []api.Bound{byPlatform("1", "LD_PRELOAD")}}, refuse: "LD_PRELOAD is refused"},
		{name: "a value that runs code", e: environ.Environment{Pristine: true, Bound: []api.Bound{byPlatform("1", "SHELLSHOCK")}}, refuse: "SHELLSHOCK is refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.e.Inherited = inherited
			built, err := tt.e.Build()
			absent, ok := errors.AsType[*environ.NotProvided](err)
			switch {
			case tt.refuse != "":
				if err == nil || !strings.Contains(err.Error(), tt.refuse) {
					t.Errorf("error %v, want %s", err, tt.refuse)
				}
				return
			case tt.absent != nil:
				var names []string
				for _, b := range absent.Bindings {
					names = append(names, b.ExposeAsEnv)
				}
				if diff := cmp.Diff(names, tt.absent); !ok || diff != "" || built.Environ != nil {
					t.Errorf("error %v, absent (-got +want):\n%s", err, diff)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			var got, kept []string
			for _, b := range built.Bound {
				got = append(got, b.ExposeAsEnv+"="+b.Value.Reveal())
			}
			for _, w := range built.Warnings {
				kept = append(kept, w.Name)
			}
			if diff := cmp.Diff([][]string{got, kept}, [][]string{tt.want, tt.kept}); diff != "" {
				t.Errorf("bound and warnings (-got +want):\n%s", diff)
			}
		})
	}
}

// TestPlatformVariableIsRequired checks that a required name that the platform did not provide is reported once, as not
// provided.
func TestPlatformVariableIsRequired(t *testing.T) {
	_, err := environ.Environment{Bound: []api.Bound{byPlatform("1", "ABSENT")}, Require: []string{"ABSENT", "OTHER"}}.Build()
	want := "the platform did not provide ABSENT: it isn't set here, and its binding 1 has no placeholder_token to set it to\nrequired but not set: OTHER"
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
