package pagetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
)

// A vault with 300 secrets and 80 resources: search, filters, sorting, links, and changes of several rows.
func manySecrets(t *testing.T, s *screen) {
	ids := map[string]string{}
	for i := range 300 {
		name := fmt.Sprintf("secret-%03d", i)
		body := map[string]any{"name": name, "value": "v"}
		switch {
		case i < 240:
			body["resource_type"], body["resource_id"], body["expose_as_env"] = "sandbox", fmt.Sprintf("sb_%02d", i%80), fmt.Sprintf("VARIABLE_%03d", i)
		case i < 250:
			body["type"] = "bearer"
		case i == 250:
			body["expires_at"] = time.Now().Add(5 * 24 * time.Hour)
		}
		ids[name] = s.PutSecret(t, body)
	}
	s.age(map[string]time.Duration{"secret-251": 100 * 24 * time.Hour, "secret-252": 200 * 24 * time.Hour}, nil)
	s.signIn()
	rows := func(n int, count string) {
		t.Helper()
		s.wait(fmt.Sprintf("document.querySelectorAll('tbody tr').length === %d && document.querySelector('main .lead').textContent === %s", n, quote(count)))
	}
	first := func(name string) {
		t.Helper()
		s.wait("document.querySelector('tbody .name').textContent === " + quote(name))
	}
	rows(100, "300 secrets")
	s.press("Show 100 more")
	rows(200, "300 secrets")

	s.fill("Find secrets", "sb_07 variable_00")
	rows(1, "1 of 300 secrets")
	first("secret-007")
	s.fill("Find secrets", "")
	rows(100, "300 secrets")
	for filter, want := range map[string]int{
		"Not bound": 60, "Expiring within 30 days": 1, "Expired": 0, "Not rotated for 90 days": 2, "Type: Bearer token": 10,
	} {
		s.choose("Show", filter)
		rows(want, fmt.Sprintf("%d of 300 secrets", want))
	}
	s.choose("Show", "All secrets")
	s.choose("Sort by", "Oldest value")
	first("secret-252")
	s.choose("Sort by", "Expiry")
	first("secret-250")
	s.choose("Sort by", "Name")

	// A new secret is visible, although the search hides it and the list has more pages.
	s.fill("Find secrets", "secret-007")
	rows(1, "1 of 300 secrets")
	s.press("Set a secret")
	s.fill("Name", "zz-new")
	s.fill("Value", "v")
	s.press("Set the secret")
	s.announced("zz-new is set.")
	s.wait(`[...document.querySelectorAll("tr.added")].some((r) => { const b = r.getBoundingClientRect(); return r.textContent.includes('zz-new') && b.top >= 0 && b.bottom <= innerHeight; })`)

	// The link to a secret's bindings leads to them.
	s.fill("Find secrets", "secret-007")
	rows(1, "1 of 301 secrets")
	s.press("1 binding of secret-007")
	s.wait("document.querySelector('main h1').textContent === 'Resources'")
	rows(1, "1 of 80 resources")
	s.row("VARIABLE_007", "secret-007 v1")
	// So does the link back to the secret.
	s.press("secret-007")
	s.wait("document.querySelector('main h1').textContent === 'Secrets'")
	rows(1, "1 of 301 secrets")
	s.press("Resources")
	s.wait("document.querySelector('main h1').textContent === 'Resources'")

	// Resources: pages, search, filters.
	s.fill("Find resources", "")
	s.wait("document.querySelectorAll('.resource').length === 25")
	s.press("Show 25 more")
	s.wait("document.querySelectorAll('.resource').length === 50")
	s.fill("Find resources", "variable_087")
	rows(1, "1 of 80 resources")
	s.fill("Find resources", "sb_07")
	rows(3, "1 of 80 resources")
	s.fill("Find resources", "")
	s.revealed(api.Resource{Type: api.Sandbox, ID: "sb_11"})
	s.Rotate(t, ids["secret-011"], "w")
	s.press("Refresh")
	s.wait("document.querySelector('.resource h2').textContent === 'sb_11'") // problems come first
	s.choose("Show", "Stale")
	rows(3, "1 of 80 resources")
	s.row("VARIABLE_011", "stale: has v1, not v2")
	s.choose("Sort by", "Last received")
	s.choose("Show", "All resources")
	s.wait("document.querySelector('.resource h2').textContent === 'sb_11'")

	// Unbind several variables.
	s.fill("Find resources", "sb_07")
	rows(3, "1 of 80 resources")
	s.check("Select VARIABLE_007 of sandbox sb_07")
	s.check("Select VARIABLE_087 of sandbox sb_07")
	s.shows("2 selected")
	s.press("Unbind the selected variables")
	s.shows("VARIABLE_087 on sandbox sb_07")
	s.press("Unbind")
	s.announced("2 variables are unbound.")
	rows(1, "1 of 80 resources")

	// Rotate several secrets.
	s.press("Secrets")
	s.fill("Find secrets", "sb_11")
	rows(3, "3 of 301 secrets")
	s.check("Select secret-011")
	s.check("Select secret-091")
	s.press("Rotate the selected secrets")
	s.fill("secret-011", "first-canary")
	s.press("Rotate")
	s.shows("secret-091 is needed.")
	s.fill("secret-091", "second-canary")
	s.press("Rotate")
	s.announced("2 secrets are rotated.")
	s.row("secret-011", "v3")
	want := map[string]string{"VARIABLE_011": "first-canary", "VARIABLE_091": "second-canary", "VARIABLE_171": "v"}
	if diff := cmp.Diff(want, s.revealed(api.Resource{Type: api.Sandbox, ID: "sb_11"})); diff != "" {
		t.Errorf("revealed (-want +got):\n%s", diff)
	}
	s.holdsNot("a value", "first-canary")
	s.holdsNot("a value", "second-canary")

	// Bind by searching for the secret. The variable has a suggestion.
	s.press("Resources")
	s.press("Bind a secret")
	s.fill("Secret", "secret-9")
	s.fill("Id", "sb_new")
	s.fill("Variable", "X")
	s.press("Bind")
	s.shows("Secret must be one of the secrets.")
	s.fill("Secret", "secret-299")
	s.fill("Variable", "")
	eval[bool](s, "document.activeElement.blur(), "+find("input", "Variable")+".focus(), true")
	s.wait(find("input", "Variable") + ".value === 'SECRET_299'")
	s.press("Bind")
	s.announced("secret-299 is bound to sandbox sb_new as SECRET_299.")
	s.wait(`[...document.querySelectorAll('tr.added')].some((r) => r.textContent.includes('SECRET_299'))`)
	s.noProblems()
}

// check clicks the checkbox with that accessible name.
func (s *screen) check(name string) {
	s.Helper()
	s.wait(fmt.Sprintf("document.querySelector('[aria-label=%s]')", quote(name)))
	eval[bool](s, fmt.Sprintf("document.querySelector('[aria-label=%s]').click(), true", quote(name)))
}

// Every button and link of every view works: none causes a script error, and Escape closes every dialog.
func everyButton(t *testing.T, s *screen) {
	demo(s)
	demoNetwork(s)
	s.signIn()
	const buttons = `[...document.querySelectorAll('main :is(button, summary, select)')].filter((e) => e.checkVisibility())`
	// Not Secrets first, which is already shown: the wait would end before the link is followed.
	for _, view := range []string{"Resources", "Connections", "Keys", "Network", "Audit", "Secrets"} {
		s.press(view)
		s.wait("document.querySelector('main h1').textContent === " + quote(view) + " && document.querySelector('tbody tr')")
		n := eval[int](s, buttons+".length")
		if n < 2 {
			t.Errorf("%s has only %d buttons", view, n)
		}
		for i := range n {
			label := eval[string](s, fmt.Sprintf("%s[%d]?.textContent || ''", buttons, i))
			eval[bool](s, fmt.Sprintf("%s[%d]?.click(), true", buttons, i))
			if slices.ContainsFunc([]string{"Delete", "Revoke", "Restrict", "Rotate", "Bind", "Set a secret"}, func(word string) bool { return strings.HasPrefix(label, word) }) {
				s.wait("document.querySelector('dialog')") // after a request
			}
			if label != "Copy" && label != "Follow new events" {
				eval[bool](s, `[...document.querySelectorAll('dialog button:not([type=submit], .danger)')].filter((e) => e.textContent !== 'Cancel').forEach((e) => e.click()), true`)
			}
			if eval[bool](s, "!!document.querySelector('dialog [type=submit]:not(.danger)')") {
				eval[bool](s, "document.querySelector('dialog [type=submit]').click(), true")
			}
			if eval[bool](s, "!!document.querySelector('dialog')") {
				s.keys(kb.Escape)
				s.wait("!document.querySelector('dialog')")
			}
			if title := eval[string](s, "document.querySelector('main h1').textContent"); title != view {
				t.Fatalf("%s: %q leads to %s", view, label, title)
			}
		}
	}
	s.press("Refresh")
	s.announced("The page is up to date.")
	s.press("Sign out")
	s.noProblems(409, 422) // a key that is replaced again
}

// While a dialog is being loaded, another press of its button changes nothing. It doesn't open if another dialog was opened, in
// another view, or after signing out.
func requestedDialogs(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.wait(find("button", "Delete github"))
	// hold makes the page's requests wait until answer is called with their number, and pass lets new ones through.
	eval[bool](s, `(() => {
		const fetched = window.fetch;
		window.hold = () => {
			const requests = [];
			window.fetch = (...request) => new Promise((resolve) => requests.push(async () => {
				const answer = await fetched(...request);
				const read = answer.clone().text();
				resolve(answer);
				await read;
			}));
			window.held = () => requests.length;
			window.answer = async (i) => {
				await requests[i]();
				await new Promise((resolve) => setTimeout(resolve, 100)); // the page has read it too
				return true;
			};
		};
		window.pass = () => { window.fetch = fetched; };
		return true;
	})()`)
	press := find("button", "Delete github") + ".click()"
	request := func() {
		t.Helper()
		eval[bool](s, "hold(), "+press+", true")
		s.wait("held() === 1")
	}
	answerForNothing := func() {
		t.Helper()
		eval[bool](s, "answer(0)")
		if eval[bool](s, "!!document.querySelector('dialog')") {
			t.Error("a dialog opens that isn't wanted any more")
		}
	}
	cancel := func() {
		t.Helper()
		s.press("Cancel")
		s.wait("!document.querySelector('dialog')")
	}

	request()
	eval[bool](s, press+", "+press+", true")
	eval[bool](s, "answer(0)")
	s.shows("Delete github?")
	if n := eval[int](s, "held()"); n != 1 {
		t.Errorf("three presses make %d requests", n)
	}
	cancel()
	request()
	eval[bool](s, "answer(0)")
	s.shows("Delete github?") // it opens again
	cancel()

	request()
	s.press("Rotate github")
	s.shows("New value")
	cancel()
	answerForNothing()

	request()
	eval[bool](s, "pass(), true")
	s.press("Resources")
	s.wait("document.querySelector('main h1').textContent === 'Resources'")
	answerForNothing()

	s.press("Secrets")
	s.wait(find("button", "Delete github"))
	request()
	s.press("Sign out")
	answerForNothing()
	s.noProblems()
}
