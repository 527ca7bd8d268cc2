package socket

import (
	"errors"
	"weak"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// encoding is the encoding of a set without its values. It is reused for the same set, and doesn't keep that in memory.
type encoding struct {
	first   weak.Pointer[api.Bound] // of the set; nil for an empty one
	header  []byte
	lengths []int // of each value
	size    int   // of header and values
	names   []string
}

func newEncoding(set api.Snapshot) *encoding {
	e := &encoding{names: make([]string, len(set.Bound))}
	// Clients get the rest of a binding from opBindings: here it would make the header half as long again.
	short := api.Snapshot{Resource: set.Resource, Etag: set.Etag, Policy: set.Policy, Bound: make([]api.Bound, len(set.Bound))}
	for i, b := range set.Bound {
		short.Bound[i] = api.Bound{Label: b.Label, Value: b.Value}
		e.names[i] = b.ExposeAsEnv
	}
	e.header, e.lengths = short.Header()
	e.size = len(e.header)
	for _, length := range e.lengths {
		e.size += length
	}
	if len(set.Bound) > 0 {
		e.first = weak.Make(&set.Bound[0])
	}
	return e
}

// isOf reports whether e is the encoding of this very set, not of one with the same etag.
func (e *encoding) isOf(set api.Snapshot) bool {
	return len(set.Bound) > 0 && len(set.Bound) == len(e.lengths) && e.first == weak.Make(&set.Bound[0])
}

// encode returns the encoding of a set, or nil if the set has been replaced meanwhile: its values may have been wiped, and
// would seem to be empty.
func (s *Server) encode(set api.Snapshot) *encoding {
	if e := s.encoded.Load(); e != nil && e.isOf(set) {
		return e
	}
	e := newEncoding(set)
	now, status := s.conf.Engine.Snapshot()
	if status.State == agent.Refused || now.Etag != set.Etag || len(set.Bound) > 0 && !e.isOf(now) {
		return nil
	}
	s.encoded.Store(e)
	return e
}

// sendSet sends a set. It returns false if the set has been replaced before any of it was sent.
func (c *connection) sendSet(set api.Snapshot, status agent.Status) bool {
	e := c.encode(set)
	if e == nil {
		return false
	}
	c.limitWrite()
	g := newGather(appendSet(make([]byte, 0, 128+len(e.header)), status, e), set.Bound, e.lengths)
	switch err := g.send(c.conn); {
	case err == nil:
		c.audit(resultOK, e.names)
	case g.begun:
		c.audit(resultDropped, e.names) // of which some may have been sent
	case errors.Is(err, api.ErrWiped):
		return false
	default:
		c.audit(resultDropped, nil)
	}
	return true
}
