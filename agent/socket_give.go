package agent

import (
	"errors"
	"time"
	"weak"

	"github.com/Miosa-osa/miosa-env/api"
)

// spelled is all of a set that an answer needs but its values. It is kept from one answer to the next, and
// doesn't keep the set.
type spelled struct {
	of      weak.Pointer[api.Bound] // the set's first
	labels  []byte
	lengths []int // of each value
	total   int   // of all
	names   []string
}

func spell(set api.Snapshot) *spelled {
	p := &spelled{lengths: make([]int, len(set.Bound)), names: make([]string, len(set.Bound))}
	for i, b := range set.Bound {
		p.lengths[i], p.names[i] = b.Value.Len(), b.ExposeAsEnv
		p.total += p.lengths[i]
	}
	if len(set.Bound) > 0 {
		p.of = weak.Make(&set.Bound[0])
	}
	p.labels = appendLabels(nil, set, p.lengths)
	return p
}

// is tells whether this is that set, and not only one of the same etag.
func (p *spelled) is(set api.Snapshot) bool {
	return len(set.Bound) > 0 && len(set.Bound) == len(p.lengths) && p.of == weak.Make(&set.Bound[0])
}

// spelling gives the spelling of a set, nil if the agent has ceased to serve it: its values may be wiped
// then, and would seem to be empty.
func (s *Socket) spelling(set api.Snapshot) *spelled {
	if p := s.ready.Load(); p != nil && p.is(set) {
		return p
	}
	p := spell(set)
	now, status := s.conf.Agent.Snapshot()
	if status.State == Refused || now.Etag != set.Etag || len(set.Bound) > 0 && !p.is(now) {
		return nil
	}
	s.ready.Store(p)
	return p
}

// handOut gives the set away. False: it is gone, and nothing of it was sent.
func (k *asker) handOut(set api.Snapshot, status Status) bool {
	p := k.spelling(set)
	if p == nil {
		return false
	}
	_ = k.conn.SetWriteDeadline(time.Now().Add(k.patience()))
	head := appendSet(make([]byte, 0, 128+len(p.labels)), status, p.labels, p.total)
	g := newGather(head, set.Bound, p.lengths)
	switch err := g.send(k.conn); {
	case err == nil:
		k.audit(countReveal, resultOK, p.names)
	case errors.Is(err, errWiped) && !g.begun:
		return false
	case !g.begun:
		k.audit(countReveal, resultDropped, nil)
	default:
		k.audit(countReveal, resultDropped, p.names) // some of them, perhaps
	}
	return true
}

// patience is how long a client may take to read an answer.
func (k *asker) patience() time.Duration {
	if k.stopping.Load() {
		return stopTime
	}
	return requestTime
}

// write sends a line.
func (k *asker) write(op asked, line []byte, done result) {
	_ = k.conn.SetWriteDeadline(time.Now().Add(k.patience()))
	if _, err := k.conn.Write(line); err != nil {
		done = resultDropped
	}
	k.audit(op, done, nil)
}

// fail says why there is no answer.
func (k *asker) fail(op asked, err error) {
	if errors.Is(err, errGone) {
		k.audit(op, resultDropped, nil)
		return
	}
	k.write(op, refusal(err), resultOf(err))
}

// audit counts and logs what was asked and what came of it: every reveal and refresh, whoever asked for
// something else only for who reads along.
func (k *asker) audit(op asked, done result, names []string) {
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
