package secrets_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/google/go-cmp/cmp"
)

// A view reads and creates what belongs to its resource, as if each call named the resource.
func TestView(t *testing.T) {
	v, c := start(t)
	ctx := t.Context()
	v.Put(t, "another's", "x", secrets.Sandbox("sb_2"), "TOKEN")
	for _, view := range []*secrets.View{c.ForSandbox("sb_1"), c.ForComputer("sb_1")} {
		t.Run(view.Resource().String(), func(t *testing.T) {
			secret, binding, err := view.Set(ctx, secrets.Set{Name: "token", Value: secrets.Text("value"), ExposeAsEnv: "TOKEN"})
			if err != nil || binding == nil || binding.Resource != view.Resource() || *secret.ResourceID != "sb_1" || *secret.ResourceType != view.Resource().Type {
				t.Fatalf("set: error %v, %+v, binding %+v", err, secret, binding)
			}
			if list, err := view.List(ctx, secrets.Filter{}); err != nil || len(list) != 1 || list[0].ID != secret.ID {
				t.Errorf("list: error %v, %+v", err, list)
			}
			if bound, err := view.CreateBinding(ctx, secrets.NewBinding{SecretID: secret.ID, ExposeAsEnv: "AGAIN"}); err != nil || bound.Resource != view.Resource() {
				t.Errorf("bind: error %v, %+v", err, bound)
			}
			if list, err := view.ListBindings(ctx, secrets.BindingFilter{}); err != nil || len(list) != 2 || list[0].Resource != view.Resource() {
				t.Errorf("bindings: error %v, %+v", err, list)
			}
			key, err := view.CreateKey(ctx, nil)
			if err != nil || key.Resource != view.Resource() {
				t.Fatalf("key: error %v", err)
			}
			if diff := cmp.Diff(read(t, v, view.Resource(), key.Key), map[string]string{"TOKEN": "value", "AGAIN": "value"}); diff != "" {
				t.Errorf("set (-got +want):\n%s", diff)
			}
			if list, err := view.ListKeys(ctx); err != nil || len(list) != 1 || list[0].ID != key.ID {
				t.Errorf("keys: error %v, %d", err, len(list))
			}
			events, _, err := view.Audit(ctx, secrets.AuditFilter{Action: "binding.create"})
			if err != nil || len(events) != 2 || events[0].ResourceType != view.Resource().Type {
				t.Errorf("audit: error %v, %+v", err, events)
			}
			all := 0
			for e, err := range view.AuditAll(ctx, secrets.AuditFilter{Limit: 1}) {
				if all++; err != nil || e.ResourceType != view.Resource().Type || e.ResourceID != "sb_1" {
					t.Errorf("all of the audit: error %v, %+v", err, e)
				}
			}
			if all < 3 {
				t.Errorf("%d events", all)
			}
			// The client's own methods remain available.
			if got, err := view.Get(ctx, secret.ID); err != nil || got.ID != secret.ID {
				t.Errorf("get: error %v", err)
			}
			if got, err := view.Rotate(ctx, secret.ID, secrets.Rotation{Value: secrets.Text("next")}); err != nil || got.Version != 2 {
				t.Errorf("rotate: error %v", err)
			}
			if err := view.DeleteBinding(ctx, binding.ID); err != nil {
				t.Errorf("unbind: %v", err)
			}
			if err := view.Delete(ctx, secret.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// Arguments of the caller override those of the view.
func TestViewLetsTheCallerChoose(t *testing.T) {
	v, c := start(t)
	id := v.Put(t, "token", "x", secrets.Sandbox("sb_2"), "TOKEN")
	view := c.ForSandbox("sb_1")
	for _, r := range []secrets.Resource{secrets.Sandbox("sb_2"), {ID: "sb_2"}} {
		if list, err := view.List(t.Context(), secrets.Filter{Resource: r}); err != nil || len(list) != 1 || list[0].ID != id {
			t.Errorf("%v: error %v, %+v", r, err, list)
		}
	}
	_, binding, err := view.Set(t.Context(), secrets.Set{Name: "n", Resource: secrets.Computer("c_1"), ExposeAsEnv: "N", Delivery: api.DeliverPlaceholder})
	if err != nil || binding == nil || binding.Resource != secrets.Computer("c_1") || binding.Delivery != api.DeliverPlaceholder {
		t.Errorf("error %v, binding %+v", err, binding)
	}
}

// A view without an id does not list everyone's secrets.
func TestViewOfNothing(t *testing.T) {
	v, c := start(t)
	v.Put(t, "another's", "x", secrets.Sandbox("sb_2"), "TOKEN")
	v.ResourceKey(t, secrets.Sandbox("sb_2"))
	ctx := t.Context()
	for _, id := range []string{"", "../x"} {
		view := c.ForSandbox(id)
		for name, call := range map[string]func() error{
			"Set":           func() error { _, _, err := view.Set(ctx, secrets.Set{Name: "n"}); return err },
			"List":          func() error { _, err := view.List(ctx, secrets.Filter{}); return err },
			"CreateBinding": func() error { _, err := view.CreateBinding(ctx, secrets.NewBinding{}); return err },
			"ListBindings":  func() error { _, err := view.ListBindings(ctx, secrets.BindingFilter{}); return err },
			"Connect":       func() error { _, err := view.Connect(ctx, "acme", secrets.Connect{}); return err },
			"CreateKey":     func() error { _, err := view.CreateKey(ctx, nil); return err },
			"ListKeys":      func() error { _, err := view.ListKeys(ctx); return err },
			"Audit":         func() error { _, _, err := view.Audit(ctx, secrets.AuditFilter{}); return err },
			"AuditAll":      func() error { return lastError(view.AuditAll(ctx, secrets.AuditFilter{})) },
		} {
			if err := call(); !errors.Is(err, api.ErrInvalid) {
				t.Errorf("%s of %q: error %v, want %v", name, id, err, api.ErrInvalid)
			}
		}
	}
}

func TestViewConnects(t *testing.T) {
	var asked string
	c, _ := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = string(body)
		answerJSON(w, 200, map[string]string{"authorize_url": "https://p.example/a", "state": "st_1"})
	})
	flow, err := c.ForComputer("c_1").Connect(t.Context(), "github", secrets.Connect{ExposeAsEnv: "GH_TOKEN"})
	if err != nil || flow.State != "st_1" || flow.Provider != "github" {
		t.Fatalf("error %v, %v", err, flow)
	}
	want := `{"provider":"github","resource_type":"computer","resource_id":"c_1","expose_as_env":"GH_TOKEN"}`
	if diff := cmp.Diff(asked, want); diff != "" {
		t.Errorf("body (-got +want):\n%s", diff)
	}
}
