package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

func TestCreateBinding(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	secret := put(t, s, owner, api.NewSecret{Name: "n", Value: text("v")})
	second := put(t, s, owner, api.NewSecret{Name: "m", Value: text("w")})
	foreign := put(t, s, other, api.NewSecret{Name: "n", Value: text("v")})
	good := api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "TOKEN"}
	state := bind(t, s, owner, good)
	if state.Delivery != api.DeliverValue || state.SecretName != "n" || state.Version != 1 ||
		!strings.HasPrefix(state.PlaceholderToken, "miosa-tok-") || len(state.PlaceholderToken) < 30 {
		t.Errorf("binding %+v", state)
	}
	tests := []struct {
		name   string
		change func(*api.NewBinding)
		want   *api.Kind // nil: the existing binding
	}{
		{"again", func(*api.NewBinding) {}, nil},
		{"again, delivery spelled out", func(n *api.NewBinding) { n.Delivery = api.DeliverValue }, nil},
		{"again, other delivery", func(n *api.NewBinding) { n.Delivery = api.DeliverPlaceholder }, api.ErrConflict},
		{"another secret on the name", func(n *api.NewBinding) { n.SecretID = second.ID }, api.ErrConflict},
		{"foreign secret", func(n *api.NewBinding) { n.SecretID = foreign.ID }, api.ErrNotFound},
		{"foreign secret on a free name", func(n *api.NewBinding) { n.SecretID, n.ExposeAsEnv = foreign.ID, "FREE" }, api.ErrNotFound},
		{"unknown secret", func(n *api.NewBinding) { n.SecretID = "sec_none" }, api.ErrNotFound},
		{"no secret", func(n *api.NewBinding) { n.SecretID = "" }, api.ErrInvalid},
		{"no resource", func(n *api.NewBinding) { n.Resource = api.Resource{} }, api.ErrInvalid},
		{"unknown resource type", func(n *api.NewBinding) { n.Type = "toaster" }, api.ErrInvalid},
		{"no name", func(n *api.NewBinding) { n.ExposeAsEnv = "" }, api.ErrInvalid},
		{"bad name", func(n *api.NewBinding) { n.ExposeAsEnv = "A B" }, api.ErrInvalid},
		{"bad delivery", func(n *api.NewBinding) { n.Delivery = "pigeon" }, api.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := good
			tt.change(&n)
			got, created, err := s.CreateBinding(t.Context(), owner, n)
			if tt.want != nil {
				wantKind(t, err, tt.want)
				return
			}
			if err != nil || created {
				t.Fatalf("created %v, %v", created, err)
			}
			if diff := cmp.Diff(got, state); diff != "" {
				t.Errorf("binding (-got +want)\n%s", diff)
			}
		})
	}
	for _, n := range []api.NewBinding{
		{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "token"},
		{SecretID: secret.ID, Resource: api.Resource{Type: api.Sandbox, ID: "sb_2"}, ExposeAsEnv: "TOKEN"},
		{SecretID: secret.ID, Resource: api.Resource{Type: api.Computer, ID: "sb_1"}, ExposeAsEnv: "TOKEN"},
	} {
		if got := bind(t, s, owner, n); got.PlaceholderToken == state.PlaceholderToken {
			t.Error("two bindings share a placeholder")
		}
	}
	if n := len(audited(t, s, owner, actBindingCreate)); n != 4 {
		t.Errorf("%d bindings audited, want 4", n)
	}
}

func TestPutSecretBinds(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	p := api.NewSecret{Name: "n", Value: text("v"), Resource: box1, ExposeAsEnv: "TOKEN", Delivery: api.DeliverPlaceholder}
	secret, binding, _, err := s.PutSecret(t.Context(), owner, p, nil)
	if err != nil || binding == nil || binding.SecretID != secret.ID || binding.Resource != box1 || binding.Delivery != api.DeliverPlaceholder {
		t.Fatalf("binding %+v, %v", binding, err)
	}
	again, second, created, err := s.PutSecret(t.Context(), owner, p, nil)
	if err != nil || created || again.Version != 2 || second == nil {
		t.Fatalf("again: version %d, created %v, binding %+v, %v", again.Version, created, second, err)
	}
	if second.ID != binding.ID || second.PlaceholderToken != binding.PlaceholderToken || second.Version != 2 {
		t.Errorf("binding %+v, want the one that stands, at version 2", second)
	}
	// A conflict also undoes the creation of the secret.
	p.Name = "other"
	_, _, _, err = s.PutSecret(t.Context(), owner, p, nil)
	wantKind(t, err, api.ErrConflict)
	if list, _, err := s.Secrets(t.Context(), owner, SecretFilter{}); err != nil || len(list) != 1 {
		t.Errorf("%d secrets, %v; want 1", len(list), err)
	}
	if n := len(audited(t, s, owner, actSecretCreate)); n != 1 {
		t.Errorf("%d creations audited, want 1", n)
	}
	if _, b, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "m", Value: text("v"), ExposeAsEnv: "X"}, nil); err != nil || b != nil {
		t.Errorf("without a resource: binding %v, %v", b, err)
	}
}

func TestBindings(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	box2 := api.Resource{Type: api.Sandbox, ID: "sb_2"}
	secret := put(t, s, owner, api.NewSecret{Name: "n", Value: text("v")})
	second := put(t, s, owner, api.NewSecret{Name: "m", Value: text("v")})
	for _, n := range []api.NewBinding{
		{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "B"},
		{SecretID: second.ID, Resource: box1, ExposeAsEnv: "A"},
		{SecretID: secret.ID, Resource: box2, ExposeAsEnv: "C"},
	} {
		bind(t, s, owner, n)
	}
	bound(t, s, other, "FOREIGN", "v")
	reader := agent(t, s, owner, box1)
	tests := []struct {
		name   string
		actor  Actor
		filter BindingFilter
		want   []string
		kind   *api.Kind
	}{
		{name: "all of the tenant", actor: owner, want: []string{"A", "B", "C"}},
		{name: "one resource", actor: owner, filter: BindingFilter{ResourceType: "sandbox", ResourceID: "sb_2"}, want: []string{"C"}},
		{name: "one secret", actor: owner, filter: BindingFilter{SecretID: secret.ID}, want: []string{"B", "C"}},
		{name: "resource key", actor: reader, want: []string{"A", "B"}},
		{name: "resource key, its own", actor: reader, filter: BindingFilter{ResourceType: "sandbox", ResourceID: "sb_1"}, want: []string{"A", "B"}},
		{name: "resource key, one secret", actor: reader, filter: BindingFilter{SecretID: secret.ID}, want: []string{"B"}},
		{name: "resource key, another id", actor: reader, filter: BindingFilter{ResourceID: "sb_2"}, kind: api.ErrDenied},
		{name: "resource key, another type", actor: reader, filter: BindingFilter{ResourceType: "computer"}, kind: api.ErrDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, _, err := s.Bindings(t.Context(), tt.actor, tt.filter)
			if tt.kind != nil {
				wantKind(t, err, tt.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, b := range list {
				names = append(names, b.ExposeAsEnv)
			}
			if diff := cmp.Diff(names, tt.want); diff != "" {
				t.Errorf("names (-got +want)\n%s", diff)
			}
		})
	}
	denied := audited(t, s, owner, actBindingList)
	if len(denied) != 2 || denied[0].Outcome != api.OutcomeDenied || denied[0].ResourceID != "sb_2" || denied[0].KeyID != reader.KeyID {
		t.Errorf("denied attempts audited as %+v", denied)
	}
}

func TestDeleteBinding(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := put(t, s, owner, api.NewSecret{Name: "n", Value: text("v")})
	b := bind(t, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "A"})
	if err := s.DeleteBinding(t.Context(), owner, b.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.DeleteBinding(t.Context(), owner, b.ID), api.ErrNotFound)
	if _, err := s.Secret(t.Context(), owner, secret.ID); err != nil {
		t.Errorf("the secret went too: %v", err)
	}
	again := bind(t, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "A"})
	if again.ID == b.ID || again.PlaceholderToken == b.PlaceholderToken {
		t.Error("a new binding has what an old one had")
	}
}
