// Package memory keeps values where dumps, swap and other processes don't see them, and zeroes them when they are no
// longer used.
package memory

import (
	"runtime"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// heapLimit is the size of the heap from which garbage is collected more often: more than the longest response of a vault needs.
const heapLimit = 36 << 20

// heap is the kind of memory that is used if no other is available.
const heap = "heap"

// Region is memory for the values of one set, outside of Go's heap if the platform allows it: it isn't part of dumps and
// swap. It lasts as long as it is referenced, as each Value in it does, and is then zeroed and freed.
type Region struct{ *pages }

// pages is the memory of a region. It doesn't reference the region, which would keep that alive.
type pages struct {
	mu    sync.Mutex // guards the fields below
	bytes []byte     // nil once freed
	kind  string
	users int  // uses in progress
	gone  bool // freed when the last use ends
}

// New returns n zeroed bytes in the best kind of memory that is available.
func New(n int) *Region {
	p := &pages{}
	p.bytes, p.kind = allocate(n)
	r := &Region{p}
	runtime.AddCleanup(r, (*pages).free, p)
	return r
}

// Bytes returns the memory, or nil if it was freed.
func (r *Region) Bytes() []byte { return r.bytes }

// Free zeroes and frees the memory, after the uses in progress.
func (r *Region) Free() {
	if r != nil {
		r.free()
	}
}

// Value returns a Value of the n bytes from at. It is empty once the memory was freed.
func (r *Region) Value(at, n int) api.Value {
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

// enter begins a use of the bytes, which leave ends. It returns nil if they were freed.
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

// free zeroes and frees the bytes, after the uses in progress.
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

// Sets tracks the regions of the sets that a process keeps. A nil Sets leaves sets where they are.
type Sets struct {
	log zerolog.Logger

	mu   sync.Mutex        // guards the fields below
	live map[*pages]uint64 // not known to be freed, with their numbers
	last uint64            // the number of the latest region
	kind string            // of the latest region
}

// NewSets returns an empty Sets.
func NewSets(log zerolog.Logger) *Sets { return &Sets{log: log} }

// Keep moves a set into a region of its own, and zeroes the original values.
func (m *Sets) Keep(s api.Snapshot) api.Snapshot {
	if m == nil {
		return s
	}
	kept := m.Copy(s)
	api.Quietly(s.Wipe)
	return kept
}

// Copy copies a set into a region of its own.
func (m *Sets) Copy(s api.Snapshot) api.Snapshot {
	if m == nil {
		return s
	}
	total := 0
	for _, b := range s.Bound {
		total += b.Value.Len()
	}
	r := New(total)
	kept := api.Snapshot{Resource: s.Resource, Etag: s.Etag, Policy: s.Policy, Bound: make([]api.Bound, len(s.Bound))}
	at := 0
	api.Quietly(func() {
		for i, b := range s.Bound {
			n := 0
			b.Value.Use(func(v []byte) { n = copy(r.bytes[at:], v) })
			kept.Bound[i] = api.Bound{Label: b.Label, About: b.About, Value: r.Value(at, n)}
			at += n
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.live = map[*pages]uint64{}
	}
	if total > 0 {
		m.last++
		m.live[r.pages] = m.last
		if r.kind != m.kind {
			m.log.Info().Str("memory", r.kind).Msg("keeping values in memory")
		}
		m.kind = r.kind
	}
	return kept
}

// Collect frees the sets that are no longer referenced, and returns how many remain.
func (m *Sets) Collect() int {
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

// Last returns the number of the latest set, for Wipe.
func (m *Sets) Last() uint64 {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Wipe frees the sets up to a number, even those that are referenced: their values are empty from then on.
func (m *Sets) Wipe(last uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, number := range m.live {
		if number <= last {
			p.free()
			delete(m.live, p)
		}
	}
}
