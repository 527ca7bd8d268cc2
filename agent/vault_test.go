package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

const (
	vaultA = "https://a.example.com/api/v1"
	vaultB = "https://b.example.com/api/v1"
)

// named is a vault with a base URL.
type named struct {
	*fakeVault
	vault string
}

func (n named) Vault() string { return n.vault }

// The status names the vault of the set that is served: a new one once it has answered.
func TestStatusNamesTheVaultOfTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := named{newFakeVault(snapshot(1)), vaultA}, named{newFakeVault(snapshot(2)), vaultB}
		runDaemon, err := agent.New(agent.Config{Resource: sandbox, Source: a, Log: zerolog.Nop()})
		must(t, err)
		var got []string
		note := func() {
			synctest.Wait()
			s := runDaemon.Status()
			got = append(got, string(s.State)+" "+s.Vault)
		}
		note()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- runDaemon.Run(ctx) }()
		note()
		b.fail(api.ErrUnavailable)
		runDaemon.Replace(b, nil)
		time.Sleep(time.Minute)
		note()
		b.rotate(snapshot(2))
		time.Sleep(time.Minute)
		note()
		a.fail(api.ErrUnauthorized)
		runDaemon.Replace(a, nil)
		note()
		b.fail(api.ErrUnavailable)
		runDaemon.Replace(b, nil)
		note()
		cancel()
		must(t, <-ended)
		want := []string{"starting " + vaultA, "fresh " + vaultA, "stale " + vaultA, "fresh " + vaultB, "refused " + vaultA, "refused " + vaultB}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("states and vaults (-got +want):\n%s", diff)
		}
	})
}
