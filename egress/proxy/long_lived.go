package proxy

import "sync"

// longLived is a connection that may last longer than the set that allowed it: one that isn't decrypted, or one after an upgrade.
type longLived struct {
	forbidden func(*Set) bool // reports whether a set doesn't allow it
	end       func()
}

// longLivedConns are the open connections of this kind.
type longLivedConns struct {
	mu   sync.Mutex // guards open
	open map[*longLived]struct{}
}

// add adds a connection, until remove is called. It ends the connection if the set has changed meanwhile and doesn't allow it.
func (ls *longLivedConns) add(s *Server, l longLived) (remove func()) {
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
// requests use new connections to servers, since the addresses of the old ones may not be allowed now. Call it after Config.Set has
// begun to return another set.
func (s *Server) Changed() {
	set := s.Set()
	s.longLived.mu.Lock()
	for l := range s.longLived.open {
		if l.forbidden(set) {
			l.end()
		}
	}
	s.longLived.mu.Unlock()
	s.upstreams.Swap(newUpstreams(s)).close()
}
