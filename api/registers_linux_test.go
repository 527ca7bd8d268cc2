package api_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

func heldSignals(t *testing.T) unix.Sigset_t {
	t.Helper()
	var now unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now); err != nil {
		t.Fatal(err)
	}
	return now
}

// Only the signals of faults and of the runtime arrive while f runs, and the signal mask is restored afterwards.
func TestQuietly(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := heldSignals(t)
	ran := false
	api.Quietly(func() {
		ran = true
		now := heldSignals(t)
		for signal, want := range map[unix.Signal]bool{
			unix.SIGURG: true, unix.SIGTERM: true, unix.SIGPROF: true, unix.SIGCONT: true, unix.SIGSEGV: false, unix.SIGBUS: false, 31: false, 32: false, 33: false, 40: true,
		} {
			if got := now.Val[0]&(1<<(signal-1)) != 0; got != want {
				t.Errorf("%s held: %v, want %v", unix.SignalName(signal), got, want)
			}
		}
	})
	if !ran || heldSignals(t) != before {
		t.Error("f did not run, or signals stay blocked")
	}
	func() {
		defer func() { _ = recover() }()
		api.Quietly(func() { panic("x") })
	}()
	if heldSignals(t) != before {
		t.Error("signals stay blocked after a panic")
	}
}

func BenchmarkQuietly(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		api.Quietly(func() {})
	}
}
