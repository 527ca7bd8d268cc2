package agent_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
)

// A cache that is truncated or changed anywhere isn't used, and doesn't cause a panic.
func TestFault_A3_DamagedCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	c := cacheAt(t, path, someKey)
	if err := c.Save(agenttest.Varied(), time.Now()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(file []byte, what string, at int) {
		t.Helper()
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		set, _, err := c.Load()
		if err == nil || !strings.Contains(err.Error(), "the cache is damaged") && !strings.Contains(err.Error(), "the cache is of another resource") || set.Bound != nil || set.Etag != "" {
			t.Fatalf("%s at byte %d of %d: error %v, %d values", what, at, len(whole), err, len(set.Bound))
		}
		if strings.Contains(err.Error(), "canary") {
			t.Fatalf("%s at byte %d: the error shows a value", what, at)
		}
	}
	for i := range whole {
		try(whole[:i], "cut", i)
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1 << (i % 8)
		try(changed, "changed", i)
		if i < 200 { // the header, in every bit
			for bit := range 8 {
				changed[i] = whole[i] ^ 1<<bit
				try(changed, "changed", i)
			}
		}
	}
	try(append(bytes.Clone(whole), 0), "longer", len(whole))
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Load(); err != nil {
		t.Errorf("undamaged, as a control: %v", err)
	}

	// An agent that finds such a cache requests the set from the vault and replaces the cache.
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	vault := newFakeVault(snapshot(7))
	vault.err = errDown
	runDaemon(t, agent.Config{Source: vault, Cache: c}, func(t *testing.T, a *agent.Engine) {
		time.Sleep(time.Minute)
		expect(t, a, "a damaged cache", summary{State: agent.Starting, Error: "not ready"})
		vault.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if set, _, err := c.Load(); err != nil || first(set) != "canary-7" {
			t.Errorf("the damaged cache was not replaced: %v", err)
		}
	})
}
