package proxy

import "sync"

// lasting is a connection that may last longer than the set that allowed it: one that isn't decrypted, or one after an upgrade.
type lasting struct {
	forbidden func(*Set) bool // reports whether a set doesn't allow it
	end       func()
}

// lastings are the open connections of this kind.
type lastings struct {
	mu   sync.Mutex // guards open
	open map[*lasting]struct{}
}

// add adds a connection, until remove is called. It ends the connection if the set doesn't allow it since it was opened.
func (ls *lastings) add(s *Server, l lasting) (remove func()) {
	ls.mu.Lock()
	ls.open[&l] = struct{}{}
	ls.mu.Unlock()
	if l.forbidden(s.Set()) {
		l.end()
	}
	return func() {
		ls.mu.Lock()
		delete(ls.open, &l)
		ls.mu.Unlock()
	}
}

// Changed ends the connections that aren't decrypted, and those after an upgrade, if the set doesn't allow them any more. Later
// requests use new connections to servers, since the addresses of the old ones may not be allowed now. Call it when Set returns another one.
func (s *Server) Changed() {
	set := s.Set()
	s.lasting.mu.Lock()
	for l := range s.lasting.open {
		if l.forbidden(set) {
			l.end()
		}
	}
	s.lasting.mu.Unlock()
	s.upstreams.Swap(newUpstreams(s)).close()
}
