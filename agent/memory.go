package agent

import (
	"runtime"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// heapLimit is where the collector works harder: above what the longest answer of a vault needs.
const heapLimit = 36 << 20

// memoryHeap is the kind of memory where there is nothing better.
const memoryHeap = "heap"

// region is memory for the values of one set, outside of Go's heap where the platform allows: the
// collector never copies it, dumps and swap don't see it. It lasts as long as anything refers to it,
// which every Value over it does, and is then zeroed and given back.
type region struct{ *pages }

// pages is the memory of a region. It doesn't know its region, so that it can outlive it.
type pages struct {
	mu    sync.Mutex // guards the fields below
	bytes []byte     // nil once given back
	kind  string
	users int  // uses under way
	gone  bool // to be given back when the last use ends
}

// newRegion gives n zeroed bytes. Where the machine has no locked memory left they are the next best.
func newRegion(n int) *region {
	p := &pages{}
	p.bytes, p.kind = allocate(n)
	r := &region{p}
	runtime.AddCleanup(r, (*pages).free, p)
	return r
}

// value is a Value over n bytes from at. It is empty once the pages are gone.
func (r *region) value(at, n int) api.Value {
	return api.NewLentValue(func(use func([]byte)) {
		b := r.enter()
		defer r.leave() // refers to the region, and so keeps it
		if b != nil {
			b = b[at : at+n : at+n]
		}
		use(b)
		if len(b) > 0 {
			api.ScrubRegisters()
		}
	})
}

// enter gives the bytes until leave; nil once they are gone.
func (p *pages) enter() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
	if p.gone {
		return nil
	}
	return p.bytes
}

func (p *pages) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users--
	p.drop()
}

// free zeroes the bytes and gives them back, at the end of the last use if there is one.
func (p *pages) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.drop()
}

func (p *pages) drop() {
	if !p.gone || p.users > 0 || p.bytes == nil {
		return
	}
	clear(p.bytes)
	release(p.bytes, p.kind)
	p.bytes = nil
}

func (p *pages) freed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes == nil
}

// memory is all regions of one engine.
type memory struct {
	log  zerolog.Logger
	heap bool // sets stay where they are

	mu   sync.Mutex          // guards the fields below
	live map[*pages]struct{} // not known to be freed
	kind string              // of the latest region
}

// keep moves a set into a region of its own: the values it came with are zeroed.
func (m *memory) keep(s api.Snapshot) api.Snapshot {
	if m.heap {
		return s
	}
	kept := m.copy(s)
	api.Quietly(s.Wipe)
	return kept
}

// copy puts a set into a region of its own too: the values it came with stay.
func (m *memory) copy(s api.Snapshot) api.Snapshot {
	if m.heap {
		return s
	}
	total := 0
	for _, b := range s.Bound {
		total += b.Value.Len()
	}
	r := newRegion(total)
	kept := api.Snapshot{Resource: s.Resource, Etag: s.Etag, Bound: make([]api.Bound, len(s.Bound))}
	at := 0
	api.Quietly(func() {
		for i, b := range s.Bound {
			n := 0
			b.Value.Use(func(v []byte) { n = copy(r.bytes[at:], v) })
			kept.Bound[i] = api.Bound{Label: b.Label, About: b.About, Value: r.value(at, n)}
			at += n
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.live = map[*pages]struct{}{}
	}
	if total > 0 {
		m.live[r.pages] = struct{}{}
		if r.kind != m.kind {
			m.log.Info().Str("memory", r.kind).Msg("keeping values in memory")
		}
		m.kind = r.kind
	}
	return kept
}

// collect has the values freed that nobody refers to any more, and returns how many sets remain.
func (m *memory) collect() int {
	runtime.GC()
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.live {
		if p.freed() {
			delete(m.live, p)
		}
	}
	return len(m.live)
}

// wipe frees everything. Whoever still holds a value finds it empty.
func (m *memory) wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.live {
		p.free()
		delete(m.live, p)
	}
}
