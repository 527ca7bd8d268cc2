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
const interval = 30 * time.Second

// tolerated is how many bytes may be allocated without a collection, in addition to a quarter of what the process has.
const tolerated = 16 << 20

// Run collects garbage and returns free memory each time that much was allocated since the last collection, until ctx ends. It does so
// again at the next check, since what was in use at the first collection may be free by then.
func Run(ctx context.Context) {
	last, again := uint64(0), false
	for delay.Sleep(ctx, interval) == nil {
		held, allocated := memory()
		much := allocated-last > held/4+tolerated
		if much || again {
			debug.FreeOSMemory()
			last, again = allocated, much
		}
	}
}

// memory returns how many bytes of the operating system's memory Go has, and how many it has allocated since the start.
func memory() (held, allocated uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64(), samples[2].Value.Uint64()
}
