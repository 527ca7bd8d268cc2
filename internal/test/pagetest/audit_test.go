package pagetest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// The audit log: filters, older events, and following.
func auditView(t *testing.T, s *screen) {
	id := s.Put(t, "github", "v", production, "GH_TOKEN")
	for i := range 120 {
		s.Rotate(t, id, fmt.Sprint("v", i))
	}
	s.revealed(production)
	s.signIn()
	s.press("Audit")
	// Following starts and ends before the first response, if the vault isn't faster.
	s.wait(find("button", "Follow new events"))
	eval[bool](s, "(() => { const b = "+find("button", "Follow new events")+"; b.click(); b.click(); return true; })()")
	events := func(n int) {
		t.Helper()
		s.wait(fmt.Sprintf("document.querySelectorAll('tbody tr').length === %d", n))
	}
	events(100)
	if diff := cmp.Diff(documentedActions(t), eval[[]string](s, "[...document.querySelector('[aria-label=Action]').options].slice(1).map((o) => o.value).sort()")); diff != "" {
		t.Errorf("actions to filter by (-docs +page):\n%s", diff)
	}
	s.row("reveal", "ok sandbox "+production.ID+" github v121")
	s.press("Show older events")
	s.wait("document.querySelectorAll('tbody tr').length > 120")
	s.choose("Action", "secret.create")
	events(1)
	s.row("secret.create", "github v1")
	s.choose("Action", "reveal")
	events(1)
	s.choose("Kind", "Computer")
	s.shows("No event matches.")
	s.choose("Kind", "Sandbox")
	events(1)
	s.press("Follow new events")
	s.Rotate(t, id, "w")
	s.revealed(production)
	events(2)
	s.wait("document.getElementById('notice').textContent.includes('New event: reveal, ok, sandbox " + production.ID + "')")
	s.press("Follow new events")
	s.noProblems()
}

// documentedActions returns the actions of audit events, sorted.
func documentedActions(t *testing.T) (actions []string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| action | |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for i, word := range strings.Split(cell, "`") {
			if i%2 == 1 {
				actions = append(actions, word)
			}
		}
	}
	slices.Sort(actions)
	return actions
}

// Repeated reveals are one event with a count, which a follower sees change.
func auditRepetitions(t *testing.T, s *screen) {
	s.Put(t, "github", "v", production, "GH_TOKEN")
	reveal := s.reveals(production)
	reveal()
	s.signIn()
	s.press("Audit")
	s.row("reveal", "sandbox "+production.ID)
	s.press("Follow new events")
	reveal()
	reveal()
	s.row("reveal", "3 times, last just now")
	s.wait("document.getElementById('notice').textContent.includes('Again: reveal, ok, sandbox " + production.ID + "')")
	s.press("Follow new events")

	// The events of a secret, by its name, include its reveals; those of a key, by its id, what was done with it.
	events := func(want string) {
		t.Helper()
		s.wait("[...document.querySelectorAll('tbody .name')].map((e) => e.textContent).join(' ') === " + quote(want))
	}
	about := func(text string) {
		t.Helper()
		s.fill("Resource, secret or key", text)
		eval[bool](s, find("input", "Resource, secret or key")+".dispatchEvent(new Event('change'))")
	}
	about("github")
	events("reveal binding.create secret.create")
	about(s.issued(labelled("")).ID)
	events("key.create binding.create secret.create")
	about("sb_none")
	s.shows("No event matches.")
	s.noProblems()
}

// The log is verified in the page, which shows the head. A changed event is found.
func auditVerify(t *testing.T, s *screen) {
	vaulttest.OneVault(t, "it opens the database's file")
	s.Put(t, "github", "v", production, "GH_TOKEN")
	s.signIn()
	s.press("Audit")
	s.press("Verify the log")
	s.shows("3 events verified: the log is unchanged.")
	s.shows("Its newest event is number 3,")
	if hash := eval[string](s, "document.querySelector('dialog code').textContent"); len(hash) != 64 {
		t.Errorf("hash %q", hash)
	}
	s.close()
	db, err := sql.Open("sqlite", filepath.Join(s.DataDir(), "vault.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("UPDATE audit SET remote_addr = '192.0.2.1'"); err != nil {
		t.Fatal(err)
	}
	s.press("Verify the log")
	s.wait("document.querySelector('dialog .bad')")
	s.shows("evt_")
	s.close()
	s.noProblems()
}
