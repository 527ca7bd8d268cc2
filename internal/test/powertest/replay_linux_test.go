package powertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// event is a write to something that has a name.
type event struct {
	name    string
	version int64 // 0: the write removes it
	sent    int   // the position before the write
	acked   int   // the position after its acknowledgement; 0: there was none
}

// history is the list of all writes. Those of one name are sent one after another.
type history struct {
	mu     sync.Mutex // guards events
	events []event
}

func (h *history) add(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// at returns the versions that each name may have after a crash: the last one that was acknowledged, and those that were sent after
// it. 0: it is not there.
func (h *history) at(crash int) map[string][]int64 {
	allowed := map[string][]int64{}
	for _, e := range h.events {
		switch {
		case e.acked > 0 && e.acked <= crash:
			allowed[e.name] = []int64{e.version}
		case e.sent < crash:
			if allowed[e.name] == nil {
				allowed[e.name] = []int64{0}
			}
			allowed[e.name] = append(allowed[e.name], e.version)
		}
	}
	return allowed
}

// replay replays crashes of a recording, and checks each with check, which gets the folder and the position of the crash. It returns the
// number of failed checks, and the error of one.
func (r recording) replay(t *testing.T, count int, seed uint64, check func(folder string, crash, number int) error) (failed int, example error) {
	t.Helper()
	parent := inMemory(t)
	var next atomic.Int64
	var mu sync.Mutex // guards the results
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)); i <= count; i = int(next.Add(1)) {
				l := newLosses(seed + uint64(i))
				crash := r.from + l.IntN(len(r.ops)-r.from+1)
				folder := filepath.Join(parent, fmt.Sprint(i))
				err := r.crash(folder, crash, l)
				if err == nil {
					err = check(folder, crash, i)
				}
				_ = os.RemoveAll(folder)
				if err != nil {
					mu.Lock()
					failed, example = failed+1, fmt.Errorf("replay with seed %d, crash before operation %d of %d: %w", seed+uint64(i), crash, len(r.ops), err)
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	return failed, example
}

// controls replays a recording without syncs of the files with these names, of each list, and without those of directories, until a
// replay fails. It fails where that finds no loss.
func (r recording) controls(t *testing.T, check func(folder string, crash int) error, files ...[]string) {
	t.Helper()
	const atOnce, most = 10, 500
	for _, names := range append(files, nil) {
		control := r.withoutSyncs(names...)
		var example error
		for n := 0; n < most && example == nil; n += atOnce {
			_, example = control.replay(t, atOnce, newSeed(), func(folder string, crash, _ int) error { return check(folder, crash) })
		}
		if example == nil {
			t.Errorf("without the syncs of %q (none: of directories) nothing is lost", names)
		}
		t.Logf("control without the syncs of %q, which must fail: %v", names, example)
	}
}

// newSeed returns a seed that no other run uses. A failed replay names its own.
func newSeed() uint64 { return rand.Uint64() >> 1 }

// inMemory returns a folder in memory, if there is one, or in the folder for temporary files.
func inMemory(t *testing.T) string {
	t.Helper()
	path, err := os.MkdirTemp("/dev/shm", "miosa-powertest-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	return path
}
