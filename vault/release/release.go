// Package release returns memory to the operating system. Go keeps what it has used at a peak, such as when thousands of agents reveal at
// once, for as long as few allocations make it collect garbage.
package release

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// interval is the time between checks. Each collection takes milliseconds, or with 10,000 waiting reveals a tenth of a second.
const interval = 20 * time.Second

// tolerated is how many bytes the process may take more than after the last collection, beside a quarter of that.
const tolerated = 16 << 20

// Run collects garbage, and returns free memory, when the process takes much more than after the last time, until ctx ends.
func Run(ctx context.Context) {
	least := uint64(0)
	for delay.Sleep(ctx, interval) == nil {
		if now := held(); now > least+least/4+tolerated {
			debug.FreeOSMemory()
			least = held()
		} else {
			least = min(least, now)
		}
	}
}

// held is how many bytes of the operating system's memory Go has.
func held() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
