package pagetest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// secret returns the only secret with a name, from the API.
func (s *screen) secret(name string) (found api.Secret) {
	s.Helper()
	var list struct{ Secrets []api.Secret }
	_, text := s.Do(s, s.TenantKey, "GET", "/egress/secrets", nil)
	if err := json.Unmarshal(text, &list); err != nil {
		s.Fatal(err)
	}
	for _, one := range list.Secrets {
		if one.Name == name {
			return one
		}
	}
	s.Fatalf("there is no %s", name)
	return found
}

// row waits until the row with that name contains a text.
func (s *screen) row(name, text string) {
	s.Helper()
	s.wait(`[...document.querySelectorAll('tbody tr')].some((r) => r.cells[0].innerText.split('\n')[0] === ` + quote(name) +
		` && r.innerText.replace(/\s+/g, ' ').includes(` + quote(text) + `))`)
}

// The life of a secret, each step on the page and then checked through the API.
func actions(t *testing.T, s *screen) {
	s.signIn()

	// Set a secret without options.
	s.press("Set a secret")
	s.wait("document.activeElement === " + find("input", "Name"))
	s.press("Set the secret")
	s.shows("Name is needed.")
	s.fill("Name", "github")
	s.press("Set the secret")
	s.shows("Value is needed.")
	s.fill("Value", "first-canary")
	if !eval[bool](s, find("input", "Value")+".type === 'password'") {
		t.Error("the value can be read while it is typed")
	}
	s.press("Show value")
	if !eval[bool](s, find("input", "Value")+".type === 'text'") {
		t.Error("the value can't be looked at")
	}
	s.press("Set the secret")
	s.announced("github is set.")
	s.row("github", "v1 just now never nothing")
	s.wait(`document.activeElement.textContent === 'Set a secret'`)
	s.holdsNot("a value", "first-canary")

	// Set and bind a secret, with all options.
	s.press("Set a secret")
	s.fill("Name", "database")
	s.fill("Value", "second-canary")
	s.choose("Kind", "Computer")
	s.fill("Id", "c_1")
	s.fill("Variable", "1_DATABASE")
	s.press("Set the secret")
	s.shows("Variable must consist of letters")
	s.fill("Variable", "DATABASE_URL")
	s.press("Type, owner and expiry")
	s.choose("Type", "Basic login")
	s.choose("Belongs to", "A workspace")
	s.fill("Workspace id", "research")
	eval[bool](s, find("input", "Expires")+".value = '2099-01-02T03:04', true")
	s.press("Set the secret")
	s.announced("database is set. It is bound to computer c_1 as DATABASE_URL.")
	s.row("database", "Basic login •••••••• workspace research computer c_1 v1 just now")
	s.row("database", "1 binding")
	computer := api.Resource{Type: api.Computer, ID: "c_1"}
	if diff := cmp.Diff(map[string]string{"DATABASE_URL": "second-canary"}, s.revealed(computer)); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	set := s.secret("database")
	if set.Type != "basic" || set.Scope != "workspace" || *set.WorkspaceID != "research" || set.ExpiresAt.Year() != 2099 {
		t.Errorf("stored %+v", set)
	}

	// Bind the first one; the second one's variable is taken.
	s.press("Bind github")
	s.choose("Kind", "Computer")
	s.fill("Id", "c_1")
	s.fill("Variable", "DATABASE_URL")
	s.press("Bind")
	s.shows("Variable is bound to another secret on this resource")
	s.wait(find("input", "Variable") + " === document.activeElement")
	s.fill("Variable", "GH_TOKEN")
	s.press("Bind")
	s.announced("github is bound to computer c_1 as GH_TOKEN.")
	s.row("github", "1 binding")
	s.wait(`document.activeElement.textContent === 'Bind github'`)

	// Rotate.
	s.press("Rotate github")
	s.shows("It becomes version 2. 1 binding will receive the new value")
	s.fill("New value", "third-canary")
	s.press("Rotate")
	s.announced("github is rotated: it is version 2 now.")
	s.row("github", "v2 just now")
	want := map[string]string{"DATABASE_URL": "second-canary", "GH_TOKEN": "third-canary"}
	if diff := cmp.Diff(want, s.revealed(computer)); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	s.press("Rotate database")
	s.fill("New value", "fourth-canary")
	s.choose("Expiry", "never")
	s.press("Rotate")
	s.announced("database is rotated: it is version 2 now.")
	if at := s.secret("database").ExpiresAt; at != nil {
		t.Errorf("it expires at %v", at)
	}

	// Unbind.
	s.press("Resources")
	s.row("GH_TOKEN", "github v2")
	s.press("Unbind GH_TOKEN from computer c_1")
	s.shows("New commands on computer c_1 will not have GH_TOKEN. The secret github is kept.")
	s.wait("document.activeElement.textContent === 'Cancel'")
	s.press("Unbind")
	s.announced("GH_TOKEN is unbound from computer c_1.")
	s.wait("document.activeElement === document.querySelector('main h1')")
	if diff := cmp.Diff(map[string]string{"DATABASE_URL": "fourth-canary"}, s.revealed(computer)); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	// Bind from the view of resources.
	s.press("Bind a secret to computer c_1")
	s.fill("Secret", "github")
	s.fill("Variable", "GITHUB")
	s.choose("Delivery", "a placeholder for the proxy")
	s.press("Bind")
	s.announced("github is bound to computer c_1 as GITHUB.")
	s.row("GITHUB", "as a placeholder")
	if got := s.revealed(computer)["GITHUB"]; !strings.HasPrefix(got, "miosa-tok-") {
		t.Error("revealed the value instead of a placeholder")
	}

	// Bind without a resource to start from: the form asks for secret and resource.
	s.press("Bind a secret")
	s.wait("document.querySelector('dialog h2').textContent === 'Bind a secret'")
	s.fill("Secret", "github")
	s.fill("Id", "sb_2")
	s.fill("Variable", "GH")
	s.press("Bind")
	s.announced("github is bound to sandbox sb_2 as GH.")
	s.press("Unbind GH from sandbox sb_2")
	s.press("Unbind")
	s.announced("GH is unbound from sandbox sb_2.")

	// Delete. The secret was bound again meanwhile, and the page says so.
	s.press("Secrets")
	s.row("database", "1 binding")
	if status, _ := s.Do(t, s.TenantKey, "POST", "/egress/bindings", map[string]string{
		"secret_id": s.secret("database").ID, "resource_type": "sandbox", "resource_id": "sb_9", "expose_as_env": "DB",
	}); status != 201 {
		t.Fatalf("bind: status %d", status)
	}
	s.press("Delete database")
	s.shows("2 bindings will be deleted with it:")
	s.shows("DB on sandbox sb_9")
	s.press("Cancel")
	s.wait("!document.querySelector('dialog') && document.activeElement.textContent === 'Delete database'")
	s.secret("database")
	s.press("Delete database")
	s.press("Delete it and 2 bindings")
	s.announced("database is deleted, and 2 bindings with it.")
	s.wait("document.querySelectorAll('tbody tr').length === 1")
	if got := s.revealed(computer); len(got) != 1 {
		t.Errorf("revealed %d values", len(got))
	}

	for _, canary := range []string{"first-canary", "second-canary", "third-canary", "fourth-canary", s.TenantKey.Reveal()} {
		s.holdsNot("a value or the key", canary)
	}
	s.noProblems(409)
}

// A submitted value is removed from the field whether it was accepted or not, and the form says so.
func refusedValueIsWiped(t *testing.T, s *screen) {
	s.Put(t, "other", "v", production, "GH_TOKEN")
	s.signIn()
	s.press("Set a secret")
	s.fill("Name", "github")
	s.fill("Value", "a-canary")
	s.press("Show value")
	s.fill("Id", production.ID)
	s.fill("Variable", "GH_TOKEN")
	s.press("Set the secret")
	s.shows("Variable is bound to another secret on this resource: delete that binding first. The value was removed from the form when it was sent: enter it again.")
	s.holdsNot("the value", "a-canary")
	if !eval[bool](s, find("input", "Value")+".type === 'password'") {
		t.Error("the next value can be read while it is typed")
	}
	// A value that was typed and canceled is removed as well.
	s.fill("Value", "a-canary")
	s.press("Cancel")
	s.wait("!document.querySelector('dialog')")
	s.holdsNot("the value", "a-canary")
	s.noProblems(409)
}

// A value with several lines reaches the command unchanged, and is hidden until the user reveals it.
func severalLines(t *testing.T, s *screen) {
	s.signIn()
	s.press("Set a secret")
	s.fill("Name", "certificate")
	s.fill("Value", "begin ")
	value := "first line\n  second line\n"
	eval[bool](s, `(() => {
		const data = new DataTransfer();
		data.setData('text/plain', `+quote(value)+`);
		document.activeElement.setSelectionRange(6, 6);
		return document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
	})()`)
	s.wait("document.activeElement.matches('textarea') && getComputedStyle(document.activeElement).webkitTextSecurity === 'disc'")
	s.press("Show value")
	s.wait("getComputedStyle(" + find("textarea", "Value") + ").webkitTextSecurity === 'none'")
	s.fill("Id", production.ID)
	s.fill("Variable", "CERTIFICATE")
	s.press("Set the secret")
	s.announced("certificate is set. It is bound to sandbox " + production.ID + " as CERTIFICATE.")
	if diff := cmp.Diff(map[string]string{"CERTIFICATE": "begin " + value}, s.revealed(production)); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	s.noProblems()
}
