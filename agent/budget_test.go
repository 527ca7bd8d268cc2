package agent_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
)

// budgetUnderFailures is the least average time between two requests to a vault that fails at times.
const budgetUnderFailures = 4 * time.Second

// docs/operations.md states the budget of requests that tests check.
func TestRequestBudgetIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	must(t, err)
	for _, row := range []string{
		"| while all is well | 1 each 50 s |",
		"| for a rotation | 1 more |",
		"| for a refresh, a wake-up of the machine, a new key | 2 more each |",
		"| while the vault is down | 1 each 15 s to 30 s, after a dozen at the start |",
		"| while it is alternately up and down | 1 each 4 s at most, on average |", // budgetUnderFailures
		"| for 30 s after a wake-up, while it is down | 4 a second at most |",
	} {
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/operations.md has no row %q", row)
		}
	}
}

// The budget, row by row. The row of a vault that is up and down is TestFault_A7_HalfErrors and
// TestFlappingVault.
func TestRequestBudget(t *testing.T) {
	vault := newFakeVault(snapshot(1))
	var wake func(string)
	watch := func(ctx context.Context, call func(string)) error { wake = call; <-ctx.Done(); return nil }
	runDaemon(t, agent.Config{Source: vault, Sleep: watch}, func(t *testing.T, a *agent.Engine) {
		// costs returns the number of requests within a time in which do runs.
		costs := func(long time.Duration, do func()) int {
			n := len(vault.asked())
			do()
			time.Sleep(long)
			synctest.Wait()
			return len(vault.asked()) - n
		}
		within := func(what string, got, least, most int) {
			t.Helper()
			if got < least || got > most {
				t.Errorf("%s: %d requests, want %d to %d", what, got, least, most)
			}
		}
		time.Sleep(time.Second)
		within("a day in which all is well", costs(24*time.Hour, func() {}), 24*72, 24*72)
		within("a rotation", costs(time.Second, func() { vault.rotate(snapshot(2)) }), 1, 1)
		within("a refresh", costs(time.Second, func() { must(t, a.Refresh(t.Context())) }), 2, 2)
		within("a wake", costs(time.Second, func() { wake("slept") }), 2, 2)
		within("another key", costs(time.Second, func() { a.Replace(vault, nil) }), 2, 2)
		vault.fail(errDown)
		time.Sleep(time.Minute)
		within("an hour of a vault that is down", costs(time.Hour, func() {}), 3600/30, 3600/15)
		within("the first 30 s after a wake", costs(30*time.Second, func() { wake("slept") }), 30*2, 30*4)
	})
	vault = newFakeVault(snapshot(1))
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(time.Second)
		vault.fail(errDown)
		n := len(vault.asked())
		time.Sleep(time.Minute)
		if got := len(vault.asked()) - n; got < 7 || got > 12 {
			t.Errorf("%d requests in the first minute while the vault is down", got)
		}
	})
}
