package agent_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/rs/zerolog"
)

// taken is a sink that a test can read while it is in use.
type taken struct {
	mu   sync.Mutex // guards sets
	sets []api.Snapshot
	more chan struct{} // signaled after each set
}

func (k *taken) Take(s api.Snapshot) {
	k.mu.Lock()
	k.sets = append(k.sets, s)
	k.mu.Unlock()
	select {
	case k.more <- struct{}{}:
	default:
	}
}

func (k *taken) all() []api.Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]api.Snapshot(nil), k.sets...)
}

// await returns when the last set has the value.
func (k *taken) await(t *testing.T, value string) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		if all := k.all(); len(all) > 0 && len(all[len(all)-1].Bound) == 1 && all[len(all)-1].Bound[0].Value.Reveal() == value {
			return
		}
		select {
		case <-k.more:
		case <-deadline:
			t.Fatalf("the set of %q didn't arrive", value)
		}
	}
}

// A vault is restarted repeatedly, with a rotation each time. Each new value arrives, and versions are ascending. Then the key is revoked, which ends Follow.
func TestFollowARealVault(t *testing.T) {
	t.Parallel() // most of it is waiting
	v := vaulttest.Start(t)
	secret := v.Put(t, "token", "value 0", sandbox, "TOKEN")
	key, keyID := v.MintResourceKey(t, sandbox)
	client, err := fetch.New(fetch.Config{BaseURL: v.BaseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	src := client.Source(sandbox)
	first, err := src.Next(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	sets := &taken{more: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- follow(ctx, src, first, zerolog.Nop(), sets) }()

	const rounds = 8
	for i := 1; i <= rounds; i++ {
		value := fmt.Sprintf("value %d", i)
		switch i % 4 {
		case 1: // while the vault runs
			v.Rotate(t, secret, value)
		case 2: // before a restart
			v.Rotate(t, secret, value)
			v.Restart(t)
		case 3: // after a restart
			v.Restart(t)
			v.Rotate(t, secret, value)
		case 0: // between two restarts
			v.Restart(t)
			v.Rotate(t, secret, value)
			v.Restart(t)
		}
		sets.await(t, value)
	}
	last := first.Bound[0].Version
	for _, s := range sets.all() {
		if got := s.Bound[0].Version; got <= last {
			t.Errorf("version %d after %d", got, last)
		} else {
			last = got
		}
	}
	if last != rounds+1 {
		t.Errorf("the last version is %d, want %d", last, rounds+1)
	}

	v.Revoke(t, keyID)
	select {
	case err := <-ended:
		if !errors.Is(err, api.ErrUnauthorized) {
			t.Errorf("ended with %v, want %v", err, api.ErrUnauthorized)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Follow did not end after the revocation")
	}
}
