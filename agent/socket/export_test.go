package socket

import (
	"io"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// ReadReply reads a reply. line is set if it is neither a set nor "same".
func ReadReply(r io.Reader) (set api.Snapshot, same bool, line []byte, err error) {
	a, err := readReply(r)
	return a.set, a.same, a.line, err
}

// ReplyError returns the error in a line of JSON.
func ReplyError(line []byte) error {
	return (&reply{line: line}).parseBody()
}

// ParseRequest parses a request and encodes it again.
func ParseRequest(line []byte) (again []byte, err error) {
	q, err := parseRequest(line)
	return q.line(), err
}

// EncodeAnswer returns the reply of a set, as gather sends it with system calls that take at most steps() bytes.
func EncodeAnswer(set api.Snapshot, status agent.Status, steps func() int) ([]byte, error) {
	e := newEncoding(set)
	g := newGather(appendSet(nil, status, e), set.Bound, e.lengths)
	var out []byte
	for {
		more, err := g.step(func(parts [][]byte) (int, error) {
			left, n := steps(), 0
			for _, part := range parts {
				k := min(left, len(part))
				out = append(out, part[:k]...)
				left, n = left-k, n+k
			}
			return n, nil
		})
		if err != nil || !more {
			return out, err
		}
	}
}

// Counts returns the numbers of active and waiting connections.
func (s *Server) Counts() (active, waiting int) { return s.active.count(), s.waiting.count() }

// Text returns the page at /metrics.
func (s *Server) Text() string { return s.metrics() }
