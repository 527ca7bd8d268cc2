package release

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// use allocates memory, waits, and returns what was held meanwhile. The memory is garbage when it returns.
//
//go:noinline
func use(bytes int, wait time.Duration) uint64 {
	b := make([]byte, bytes)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	<-time.After(wait)
	held, _ := memory()
	runtime.KeepAlive(b)
	return held
}

// Memory that was used at a peak is returned within a minute, also if a check finds it in use.
func TestRun(t *testing.T) {
	for name, wait := range map[string]time.Duration{"between checks": 0, "during a check": interval} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { Run(ctx); close(ended) }()
				<-time.After(2*interval + interval/2)
				before, _ := memory()
				peak := use(256<<20, wait)
				<-time.After(2 * interval)
				if after, _ := memory(); peak < before+200<<20 || after > before+100<<20 {
					t.Errorf("%d MB before, %d MB at the peak, %d MB after", before>>20, peak>>20, after>>20)
				}
				stop()
				<-ended
			})
		})
	}
}
