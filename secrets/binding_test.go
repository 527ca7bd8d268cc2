package secrets_test

import (
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/google/go-cmp/cmp"
)

func TestBindings(t *testing.T) {
	v, c := start(t)
	ctx := t.Context()
	a, b := v.PutSecret(t, map[string]any{"name": "a", "value": "1"}), v.PutSecret(t, map[string]any{"name": "b", "value": "2"})
	var made []secrets.Binding
	for _, n := range []secrets.NewBinding{
		{SecretID: a, Resource: secrets.Computer("c_1"), ExposeAsEnv: "A"},
		{SecretID: a, Resource: sandbox, ExposeAsEnv: "A"},
		{SecretID: b, Resource: sandbox, ExposeAsEnv: "B", Delivery: api.DeliverPlaceholder},
	} {
		got, err := c.CreateBinding(ctx, n)
		if err != nil || got.SecretID != n.SecretID || got.Resource != n.Resource || got.ExposeAsEnv != n.ExposeAsEnv || got.PlaceholderToken == "" {
			t.Fatalf("bind %+v: error %v, %+v", n, err, got)
		}
		if again, err := c.CreateBinding(ctx, n); err != nil || again.ID != got.ID {
			t.Errorf("bind %+v again: error %v, %s, want %s", n, err, again.ID, got.ID)
		}
		made = append(made, got)
	}
	list := func(f secrets.BindingFilter) []secrets.Binding {
		t.Helper()
		all, err := c.ListBindings(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		filter secrets.BindingFilter
		want   []secrets.Binding
	}{
		{"all", secrets.BindingFilter{}, made},
		{"a sandbox's", secrets.BindingFilter{Resource: sandbox}, made[1:]},
		{"a secret's", secrets.BindingFilter{SecretID: a}, made[:2]},
		{"both", secrets.BindingFilter{Resource: sandbox, SecretID: a}, made[1:2]},
		{"none", secrets.BindingFilter{SecretID: "sec_x"}, []secrets.Binding{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(list(tt.filter), tt.want); diff != "" {
				t.Errorf("bindings (-got +want):\n%s", diff)
			}
		})
	}
	if err := c.DeleteBinding(ctx, made[2].ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list(secrets.BindingFilter{}), made[:2]); diff != "" {
		t.Errorf("bindings after one is gone (-got +want):\n%s", diff)
	}
	if _, err := c.Get(ctx, b); err != nil {
		t.Errorf("the secret that isn't bound any more: %v", err)
	}
}
