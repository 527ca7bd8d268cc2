package socket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
)

// connection is a client's connection, on which it makes one request.
type connection struct {
	*Server
	ctx     context.Context //nolint:containedctx // of Serve
	conn    *net.UnixConn
	peer    peer.Peer
	counted *limiter // where the connection is counted
	op      op       // that the client asked for
}

var (
	errGone     = errors.New("the client has hung up")
	errStopping = api.NewError(api.ErrUnavailable, "the agent is stopping")
	errNotNow   = api.NewError(api.ErrUnavailable, "the agent can't give its set now")
	errRevoked  = api.NewError(api.ErrUnauthorized, "the vault refuses the agent's key: it was revoked, or the resource is gone")
	errWaiting  = &api.Error{Kind: api.ErrRateLimited, Message: "too many wait for a change at the agent", RetryAfter: 5 * time.Second}
	errSlow     = api.NewError(api.ErrMalformed, "the request wasn't there within 5 seconds")
	errLong     = api.NewError(api.ErrTooLarge, "the request is longer than 4096 bytes")
)

// serve reads the request, answers it, and closes the connection.
func (c *connection) serve() {
	defer func() { _ = c.conn.Close() }()
	defer func() { c.counted.release(c.peer) }()
	_ = c.conn.SetReadDeadline(time.Now().Add(requestTimeout))
	stop := context.AfterFunc(c.ctx, func() {
		_ = c.conn.SetReadDeadline(time.Now())
		_ = c.conn.SetWriteDeadline(time.Now().Add(stopTimeout))
	})
	defer stop()
	line, err := readRequest(c.conn)
	switch {
	case err == nil:
		err = c.answer(line)
	case c.ctx.Err() != nil:
		err = errStopping
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errSlow
	case !errors.Is(err, errLong):
		err = errGone
	}
	switch {
	case errors.Is(err, errGone):
		c.audit(resultDropped, nil)
	case err != nil:
		c.write(refusal(err), resultOf(err))
	}
}

// readRequest reads a line, or the head of an HTTP request.
func readRequest(r io.Reader) ([]byte, error) {
	buf, n := make([]byte, maxRequest), 0
	for {
		m, err := r.Read(buf[n:])
		n += m
		if bytes.HasPrefix(buf[:n], httpGet) {
			if bytes.Contains(buf[:n], []byte("\r\n\r\n")) || bytes.Contains(buf[:n], []byte("\n\n")) {
				return buf[:n], nil
			}
		} else if at := bytes.IndexByte(buf[:n], '\n'); at >= 0 {
			return buf[:at], nil
		}
		switch {
		case err != nil:
			return nil, err
		case n == len(buf):
			return nil, errLong
		}
	}
}

// wait calls do with a context that ends when the client hangs up. The connection counts as waiting from then on.
// Errors: errWaiting, errGone, errStopping; those of do.
func (c *connection) wait(do func(ctx context.Context) error) error {
	if !c.waiting.acquire(c.peer) {
		c.denials.log(c.conf.Log, c.peer, "too many wait")
		return errWaiting
	}
	c.counted.release(c.peer)
	c.counted = &c.waiting
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	gone := make(chan bool, 1)
	_ = c.conn.SetReadDeadline(time.Time{})
	c.tasks.Go(func() {
		var more [1]byte
		_, err := c.conn.Read(more[:]) // the client has nothing more to send
		cancel()
		gone <- !errors.Is(err, os.ErrDeadlineExceeded)
	})
	err := do(ctx)
	_ = c.conn.SetReadDeadline(time.Now())
	switch hungUp := <-gone; {
	case c.ctx.Err() != nil:
		return errStopping
	case hungUp:
		return errGone
	}
	return err
}

// limitWrite sets the time that the client has to read the reply.
func (c *connection) limitWrite() {
	timeout := requestTimeout
	if c.ctx.Err() != nil {
		timeout = stopTimeout
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(timeout))
}

// write sends a reply that isn't a set.
func (c *connection) write(reply []byte, r result) {
	c.limitWrite()
	if _, err := c.conn.Write(reply); err != nil {
		r = resultDropped
	}
	c.audit(r, nil)
}

// audit counts and logs the request and its result. names are the variables that were sent.
func (c *connection) audit(r result, names []string) {
	c.counters.count(c.op, r)
	event := c.conf.Log.Debug()
	if c.op == opReveal && r != resultSame || c.op == opRefresh {
		event = c.conf.Log.Info()
	}
	event = event.Str("op", string(c.op)).Str("outcome", string(r)).
		Uint32("uid", c.peer.UID).Uint32("gid", c.peer.GID).Int32("pid", c.peer.PID)
	if names != nil {
		event = event.Strs("names", names)
	}
	event.Msg("socket request")
}
