// Package memory keeps values where dumps, swap and other processes don't see them, and zeroes them when they are no
// longer used.
package memory

import (
	"runtime"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/rs/zerolog"
)

// heapLimit is the size of the heap from which it is collected more often: above what the longest answer of a vault needs.
const heapLimit = 36 << 20

// heap is the kind of memory if there is nothing better.
const heap = "heap"

// Region is memory for the values of one set, outside of Go's heap if the platform allows: the collector never copies
// it, and dumps and swap don't have it. It lasts as long as anything refers to it, as each Value in it does, and is then
// zeroed and given back.
type Region struct{ *pages }

// pages is the memory of a region. It doesn't refer to its region, so that it can outlive it.
type pages struct {
	mu    sync.Mutex // guards the fields below
	bytes []byte     // nil once given back
	kind  string
	users int  // uses under way
	gone  bool // to be given back when the last use ends
}

// New returns n zeroed bytes, in the best kind of memory that the machine has left.
func New(n int) *Region {
	p := &pages{}
	p.bytes, p.kind = allocate(n)
	r := &Region{p}
	runtime.AddCleanup(r, (*pages).free, p)
	return r
}

// Bytes is the memory; nil once it was given back.
func (r *Region) Bytes() []byte { return r.bytes }

// Free zeroes the memory and gives it back, at the end of the last use if there is one.
func (r *Region) Free() {
	if r != nil {
		r.free()
	}
}

// Value is a Value over n bytes from at. It is empty once the memory was given back.
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

// enter returns the bytes for use until leave; nil once they were given back.
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

// Sets is the regions of the sets that a process keeps. A nil Sets leaves sets where they are.
type Sets struct {
	log zerolog.Logger

	mu   sync.Mutex          // guards the fields below
	live map[*pages]struct{} // not known to be freed
	kind string              // of the latest region
}

// NewSets returns an empty Sets.
func NewSets(log zerolog.Logger) *Sets { return &Sets{log: log} }

// Keep moves a set into a region of its own: the values it came with are zeroed.
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
	kept := api.Snapshot{Resource: s.Resource, Etag: s.Etag, Bound: make([]api.Bound, len(s.Bound))}
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

// Collect frees the sets that nothing refers to any more, and returns how many remain.
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

// Wipe frees all sets, even those in use: their values are empty from then on.
func (m *Sets) Wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.live {
		p.free()
		delete(m.live, p)
	}
}
