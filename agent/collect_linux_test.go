package agent_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// mapped reports whether there is memory at an address.
func mapped(t *testing.T, at uintptr) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); err == nil && from <= at && at < to {
			return true
		}
	}
	return false
}

// The values of the last set are freed soon after their last use, also if the new set has none.
func TestValuesBeforeAnEmptySet(t *testing.T) {
	empty := snapshot(1)
	empty.Etag, empty.Bound = "empty", nil
	vault := newFakeVault(snapshot(1))
	runDaemon(t, agent.Config{Source: vault}, func(t *testing.T, a *agent.Engine) {
		synctest.Wait()
		old, _ := a.Snapshot()
		var at uintptr
		old.Bound[0].Value.Use(func(b []byte) { at = uintptr(unsafe.Pointer(&b[0])) })
		vault.rotate(empty)
		time.Sleep(time.Second)
		runtime.KeepAlive(old)
		old = api.Snapshot{}
		time.Sleep(45 * time.Second) // in which the engine collects garbage several times
		if mapped(t, at) {
			t.Error("the values are still in memory")
		}
		_ = old
	})
}
