package pagetest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
)

// Resource keys: create one, use it, revoke it.
func keysView(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.press("Keys")
	s.row("Tenant key", "everything just now by the operator")
	s.press("Create a key")
	s.press("Create")
	s.shows("Id is needed.")
	s.fill("Id", production.ID)
	s.press("Create")
	key := s.newKey()
	s.holdsNot("the key", key.Reveal())
	s.row(production.ID, "valid")
	if status, _ := s.Do(t, key, "GET", "/egress/bindings", nil); status != 200 {
		t.Errorf("the key is refused: status %d", status)
	}
	id := s.keyID(production.ID)
	s.press("Revoke the key " + id + " of sandbox " + production.ID)
	s.press("Revoke")
	s.announced("The key of sandbox " + production.ID + " is revoked.")
	s.row(production.ID, "revoked just now")
	if status, _ := s.Do(t, key, "GET", "/egress/bindings", nil); status != 401 {
		t.Errorf("the revoked key works: status %d", status)
	}
	// From the resource that has no key.
	s.press("Resources")
	s.press("Create a key for sandbox " + production.ID)
	s.press("Create")
	s.shows("The key is shown only now.")
	s.close()
	s.wait("!document.body.innerText.includes('until it has a key')")
	s.noProblems()
}

// keyID returns the id of the key whose row has that name.
func (s *screen) keyID(name string) string {
	s.Helper()
	return eval[string](s, `[...document.querySelectorAll('tbody tr')].find((r) => r.querySelector('.name').textContent === `+quote(name)+`).dataset.row`)
}

// newKey returns the key that the dialog shows, and closes the dialog.
func (s *screen) newKey() api.Key {
	s.Helper()
	s.shows("The key is shown only now.")
	key, err := api.ParseKey(eval[string](s, "document.querySelector('dialog code').textContent"))
	if err != nil {
		s.Fatal("the page shows no key")
	}
	s.close()
	return key
}

// issued returns the key for which ok is true, from the API.
func (s *screen) issued(ok func(api.IssuedKey) bool) api.IssuedKey {
	s.Helper()
	var list struct{ Keys []api.IssuedKey }
	if _, text := s.Do(s, s.TenantKey, "GET", "/egress/keys", nil); json.Unmarshal(text, &list) != nil {
		s.Fatalf("keys: %s", text)
	}
	i := slices.IndexFunc(list.Keys, ok)
	if i < 0 {
		s.Fatal("there is no such key")
	}
	return list.Keys[i]
}

func labelled(label string) func(api.IssuedKey) bool {
	return func(k api.IssuedKey) bool { return k.Label == label }
}

// The tree of keys: restricted keys, what they create, replacement and revocation with and without children.
func keyTree(t *testing.T, s *screen) {
	s.signIn()
	s.press("Keys")
	s.press("Create a key")
	s.choose("For", "managing this tenant")
	s.fill("Label", "deploy")
	eval[bool](s, find("input", "Expires")+".value = '2099-01-02T03:04', true")
	s.press("Restrictions")
	s.tick("create and revoke keys")
	s.tick("list secrets")
	s.tick("The whole tenant")
	s.fill("Resources", "no-resource")
	s.press("Create")
	s.shows("Resources may have sandbox:ID and computer:ID")
	s.wait("document.activeElement === " + find("input", "Resources"))
	s.fill("Resources", "sandbox:sb_1, computer:c_1")
	s.press("Create")
	deploy := s.newKey()
	s.row("deploy", "tenant key")
	s.row("deploy", "list secrets, create and revoke keys secrets of: the whole tenant only computer c_1, sandbox sb_1")
	s.row("deploy", "never valid expires Jan 2, 2099")
	got := s.issued(labelled("deploy"))
	want := api.Restrictions{Permissions: []string{"keys:write", "secrets:read"}, Scopes: []string{"tenant"}, Resources: []string{"computer:c_1", "sandbox:sb_1"}}
	if diff := cmp.Diff(want, got.Restrictions); diff != "" || got.ExpiresAt == nil || got.ExpiresAt.Year() != 2099 {
		t.Errorf("restrictions (-want +got):\n%s", diff)
	}

	// What the restricted key creates is under it.
	create := func(body map[string]any) {
		t.Helper()
		path := "/egress/keys"
		if body["resource_id"] != nil {
			path = "/egress/resource-keys"
		}
		if status, text := s.Do(t, deploy, "POST", path, body); status != 201 {
			t.Fatalf("create: status %d: %s", status, text)
		}
	}
	create(map[string]any{"label": "job", "permissions": []string{"secrets:read"}})
	create(map[string]any{"label": "runner", "resource_type": "sandbox", "resource_id": "sb_1"})
	s.press("Refresh")
	s.row("job", "by deploy")
	s.row("runner", "sandbox sb_1")
	order := eval[[]string](s, "[...document.querySelectorAll('tbody .nested')].map((e) => e.style.getPropertyValue('--depth') + e.querySelector('.name').textContent)")
	if diff := cmp.Diff([]string{"0Tenant key", "1deploy", "2job", "2runner"}, order); diff != "" {
		t.Errorf("the tree (-want +got):\n%s", diff)
	}

	// Replaced: the successor has the children, and the old key works for a while.
	s.press("Replace the key " + s.keyID("deploy"))
	s.choose("The old key still works for", "one hour")
	s.press("Replace")
	if next := s.newKey(); next.Reveal() == deploy.Reveal() {
		t.Error("the key is the same")
	}
	s.wait("[...document.querySelectorAll('tbody .name')].filter((e) => e.textContent === 'deploy').length === 2")
	if old := s.issued(func(k api.IssuedKey) bool { return k.ID == got.ID }); old.ExpiresAt == nil || time.Until(*old.ExpiresAt) > time.Hour {
		t.Errorf("the old key expires at %v", old.ExpiresAt)
	}
	if s.issued(labelled("job")).ParentID == got.ID {
		t.Error("the children stay with the old key")
	}

	// Revoked: what happens to the children must be chosen.
	successor := s.issued(labelled("job")).ParentID
	s.press("Revoke the key " + successor)
	s.shows("It has created 2 keys, directly or through other keys:")
	s.press("Revoke")
	s.shows("These keys is needed.")
	s.choose("These keys", "are revoked too")
	s.press("Revoke")
	s.announced("3 keys are revoked.")
	s.row("job", "revoked just now")
	s.row("runner", "revoked just now")
	s.noProblems(422)
}

// tick clicks the checkbox with that label.
func (s *screen) tick(label string) {
	s.Helper()
	eval[bool](s, find("input", label)+".click(), true")
}

// A restricted key can sign in. Its views say what it may not do, once, and claim nothing about what they don't know.
func restrictedKey(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.revealed(production)
	keyFor := func(restrictions map[string]any) api.Key {
		t.Helper()
		var answer struct{ Data api.IssuedKey }
		status, text := s.Do(t, s.TenantKey, "POST", "/egress/keys", restrictions)
		if status != 201 || json.Unmarshal(text, &answer) != nil {
			t.Fatalf("create: status %d", status)
		}
		key, err := api.ParseKey(answer.Data.Key)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	restricted := func(permissions ...string) api.Key {
		t.Helper()
		return keyFor(map[string]any{"permissions": permissions})
	}
	lacks := func(view, permission string) {
		t.Helper()
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view))
		s.shows("This key is restricted: it lacks the permission " + permission)
	}

	s.enter(restricted(api.PermissionSecretsRead))
	s.row("github", "1 binding")
	lacks("Keys", "keys:write")
	lacks("Connections", "oauth")
	lacks("Audit", "audit:read")
	lacks("Resources", "audit:read")
	s.row("GH_TOKEN", "github v1 just now never unknown")
	for _, claim := range []string{"no key", "until it has a key", "never received", "stale", "not received"} {
		if eval[bool](s, "document.querySelector('main').innerText.includes("+quote(claim)+")") {
			t.Errorf("the page claims %q, which it can't know", claim)
		}
	}
	asked := s.Requests("GET /egress/keys")
	s.press("Refresh")
	s.announced("The page is up to date.")
	if now := s.Requests("GET /egress/keys"); now != asked {
		t.Error("the page asks again for what was denied")
	}
	s.press("Sign out")

	s.enter(restricted(api.PermissionAuditRead))
	lacks("Secrets", "secrets:read")
	s.press("Audit")
	s.row("reveal", "sandbox "+production.ID)
	verifies := `[...document.querySelectorAll('main button')].some((e) => e.textContent.startsWith('Verify'))`
	if !eval[bool](s, verifies) {
		t.Error("a key of all events can't verify them")
	}
	s.press("Sign out")

	s.enter(keyFor(map[string]any{"resources": []string{production.String()}}))
	s.press("Audit")
	s.row("reveal", "sandbox "+production.ID)
	if eval[bool](s, verifies) {
		t.Error("a key of some events is offered to verify all")
	}
	s.press("Sign out")

	// What it may not do isn't offered.
	for _, tt := range []struct {
		permissions []string
		buttons     map[string][]string // by view
	}{
		{[]string{"secrets:read"}, map[string][]string{"Secrets": nil, "Resources": nil}},
		{[]string{"secrets:read", "secrets:write"}, map[string][]string{"Secrets": {"Set a secret", "Rotate github", "Delete github"}, "Resources": nil}},
		{[]string{"secrets:read", "bindings:write"}, map[string][]string{
			"Secrets":   {"Bind github"},
			"Resources": {"Bind a secret", "Bind a secret to sandbox sb_checkout", "Unbind GH_TOKEN from sandbox sb_checkout"},
		}},
		{[]string{"bindings:write"}, map[string][]string{"Resources": {"Unbind GH_TOKEN from sandbox sb_checkout"}}},
		{[]string{"secrets:write"}, map[string][]string{"Secrets": {"Set a secret"}}},
		{[]string{"keys:write"}, map[string][]string{"Keys": {"Create a key"}}},
	} {
		s.enter(restricted(tt.permissions...))
		for view, want := range tt.buttons {
			s.press(view)
			s.wait("document.querySelector('main h1').textContent === " + quote(view))
			got := eval[[]string](s, `[...document.querySelectorAll('main button, main input[data-select]')].filter((e) => e.checkVisibility()).map((e) => e.textContent.trim() || 'select')`)
			if view == "Keys" { // its own row has two more
				got = got[:min(len(got), 1)]
			}
			if selects := slices.Contains(got, "select"); selects != slices.ContainsFunc(want, func(b string) bool { return b == "Rotate github" || b[:2] == "Un" }) {
				t.Errorf("%v: %s: rows can be selected: %v", tt.permissions, view, selects)
			}
			got = slices.DeleteFunc(got, func(b string) bool { return b == "select" })
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%v: %s (-want +got):\n%s", tt.permissions, view, diff)
			}
		}
		s.press("Sign out")
	}
	s.noProblems()
}
