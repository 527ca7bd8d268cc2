package pagetest

import (
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/browser"
)

// Each subtest has its own vault and tab; starting a browser for each would take most of the time.
func TestPage(t *testing.T) {
	ctx := browser.Start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *screen)
	}{
		{"signing in and out", signIn},
		{"leaving forgets the key", leavingForgets},
		{"a key is revoked", keyIsRevoked},
		{"an outage", outage},
		{"every action", actions},
		{"a refused value is wiped", refusedValueIsWiped},
		{"several lines", severalLines},
		{"what resources received", resources},
		{"a quiet refresh", quietRefresh},
		{"names of all kinds", namesOfAllKinds},
		{"many secrets", manySecrets},
		{"long lists", longLists},
		{"keys", keysView},
		{"the tree of keys", keyTree},
		{"a restricted key", restrictedKey},
		{"the network", network},
		{"the network with a restricted key", restrictedNetwork},
		{"egress rules", egressRules},
		{"the audit log", auditView},
		{"repeated events", auditRepetitions},
		{"verifying the audit log", auditVerify},
		{"every button", everyButton},
		{"requested dialogs", requestedDialogs},
		{"first load", firstLoad},
		{"a view that can't be loaded", viewNotLoadable},
		{"by keyboard alone", byKeyboardAlone},
		{"axe", axe},
		{"on small screens", onSmallScreens},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(ctx, t)) })
	}
}
