package agent

import (
	"errors"
	"time"
	"weak"

	"github.com/Miosa-osa/miosa-env/api"
)

// encoding is the encoding of a set but its values. It is kept from one answer to the next, and doesn't keep the set.
type encoding struct {
	of      weak.Pointer[api.Bound] // the set's first
	header  []byte
	lengths []int // of each value
	size    int   // of the whole encoding
	names   []string
}

func newEncoding(set api.Snapshot) *encoding {
	e := &encoding{names: make([]string, len(set.Bound))}
	// Lists are a request of their own: what is only for them would make the header half as long again.
	short := api.Snapshot{Resource: set.Resource, Etag: set.Etag, Bound: make([]api.Bound, len(set.Bound))}
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
		e.of = weak.Make(&set.Bound[0])
	}
	return e
}

// is reports whether e is of this very set, and not only of one with the same etag.
func (e *encoding) is(set api.Snapshot) bool {
	return len(set.Bound) > 0 && len(set.Bound) == len(e.lengths) && e.of == weak.Make(&set.Bound[0])
}

// encode returns the encoding of a set, nil if the agent has ceased to serve it: its values may be wiped
// then, and would seem to be empty.
func (s *Socket) encode(set api.Snapshot) *encoding {
	if e := s.encoded.Load(); e != nil && e.is(set) {
		return e
	}
	e := newEncoding(set)
	now, status := s.conf.Agent.Snapshot()
	if status.State == Refused || now.Etag != set.Etag || len(set.Bound) > 0 && !e.is(now) {
		return nil
	}
	s.encoded.Store(e)
	return e
}

// send sends the set. False: it is gone, and nothing of it was sent.
func (k *connection) send(set api.Snapshot, status Status) bool {
	e := k.encode(set)
	if e == nil {
		return false
	}
	_ = k.conn.SetWriteDeadline(time.Now().Add(k.patience()))
	g := newGather(appendSet(make([]byte, 0, 128+len(e.header)), status, e), set.Bound, e.lengths)
	switch err := g.send(k.conn); {
	case err == nil:
		k.audit(countReveal, resultOK, e.names)
	case errors.Is(err, api.ErrWiped) && !g.begun:
		return false
	case !g.begun:
		k.audit(countReveal, resultDropped, nil)
	default:
		k.audit(countReveal, resultDropped, e.names) // some of them, perhaps
	}
	return true
}

// patience is how long a client may take to read an answer.
func (k *connection) patience() time.Duration {
	if k.stopping.Load() {
		return stopTime
	}
	return requestTime
}

// write sends a line.
func (k *connection) write(op asked, line []byte, done result) {
	_ = k.conn.SetWriteDeadline(time.Now().Add(k.patience()))
	if _, err := k.conn.Write(line); err != nil {
		done = resultDropped
	}
	k.audit(op, done, nil)
}

// fail says why there is no answer.
func (k *connection) fail(op asked, err error) {
	if errors.Is(err, errGone) {
		k.audit(op, resultDropped, nil)
		return
	}
	k.write(op, refusal(err), resultOf(err))
}

// audit counts and logs what was asked and what came of it: every reveal and refresh, whoever asked for
// something else only for who reads along.
func (k *connection) audit(op asked, done result, names []string) {
	k.metrics.count(op, done)
	event := k.conf.Log.Debug()
	if op == countReveal && done != resultSame || op == countRefresh {
		event = k.conf.Log.Info()
	}
	event = event.Str("op", string(op)).Str("outcome", string(done)).
		Uint32("uid", k.peer.uid).Uint32("gid", k.peer.gid).Int32("pid", k.peer.pid)
	if names != nil {
		event = event.Strs("names", names)
	}
	event.Msg("socket request")
}
