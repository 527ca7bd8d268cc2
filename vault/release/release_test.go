package release

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// use allocates memory that is garbage when it returns, and returns what was held meanwhile.
//
//go:noinline
func use(bytes int) uint64 {
	b := make([]byte, bytes)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	held, _ := memory()
	return held
}

// Memory that was used at a peak is returned, within a minute.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { Run(ctx); close(ended) }()
		<-time.After(2 * interval)
		before, _ := memory()
		peak := use(256 << 20)
		<-time.After(2 * interval)
		if after, _ := memory(); peak < before+200<<20 || after > before+100<<20 {
			t.Errorf("%d MB before, %d MB at the peak, %d MB after", before>>20, peak>>20, after>>20)
		}
		stop()
		<-ended
	})
}
