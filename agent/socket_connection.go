package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// connection is one client's, which makes one request.
type connection struct {
	*Socket
	conn     *net.UnixConn
	peer     peer
	trusted  bool     // root or this process's own user
	admitted bool     // may ask
	holds    *limiter // that counts the connection
}

var (
	errGone     = errors.New("the client has hung up")
	errStopping = api.NewError(api.ErrUnavailable, "the agent is stopping")
	errStarting = api.NewError(api.ErrUnavailable, "the agent has no set yet: the vault hasn't answered")
	errNotNow   = api.NewError(api.ErrUnavailable, "the agent can't give its set now")
	errRevoked  = api.NewError(api.ErrUnauthorized, "the vault refuses the agent's key: it was revoked, or the resource is gone")
	errWaiting  = &api.Error{Kind: api.ErrRateLimited, Message: "too many wait for a change at the agent", RetryAfter: 5 * time.Second}
	errSlow     = api.NewError(api.ErrMalformed, "the request wasn't there within 5 seconds")
	errLong     = api.NewError(api.ErrTooLarge, "the request is longer than 4096 bytes")
)

// identify asks the kernel who is there, and decides.
func (k *connection) identify(own uint32) error {
	raw, err := k.conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		if k.peer, err = peerOf(int(fd)); err != nil {
			return
		}
		k.trusted = k.peer.trusted(own)
		k.admitted = k.trusted ||
			k.allow.Load().allowed(k.peer, func() ([]uint32, error) { return peerGroups(int(fd)) })
	})
	return errors.Join(controlErr, err)
}

// serve reads the request and answers it.
func (k *connection) serve(ctx context.Context) {
	defer func() { _ = k.conn.Close() }()
	defer func() { k.holds.release(k.peer.uid, k.trusted) }()
	_ = k.conn.SetReadDeadline(time.Now().Add(requestTime))
	stop := context.AfterFunc(ctx, func() {
		k.stopping.Store(true)
		_ = k.conn.SetReadDeadline(time.Now())
		_ = k.conn.SetWriteDeadline(time.Now().Add(stopTime))
	})
	defer stop()
	line, err := readRequest(k.conn)
	switch {
	case err != nil && ctx.Err() != nil:
		k.fail(countOther, errStopping)
	case errors.Is(err, os.ErrDeadlineExceeded):
		k.fail(countOther, errSlow)
	case errors.Is(err, errLong):
		k.fail(countOther, errLong)
	case err != nil:
		k.fail(countOther, errGone)
	case bytes.HasPrefix(line, getWord):
		k.page(line)
	default:
		k.answer(ctx, line)
	}
}

// answer does what a line asks for.
func (k *connection) answer(ctx context.Context, line []byte) {
	q, err := parseRequest(line)
	if err != nil {
		k.fail(countOther, err)
		return
	}
	switch q.Op {
	case opReveal:
		k.reveal(ctx, q)
	case opBindings:
		k.bindings(ctx, q)
	case opStatus:
		k.status(countStatus)
	case opRefresh:
		k.refresh(ctx)
	}
}

// bindings tells what is bound, without values.
func (k *connection) bindings(ctx context.Context, q request) {
	_, status := k.conf.Agent.Snapshot()
	if err := k.misdirected(q, status); err != nil {
		k.fail(countBindings, err)
		return
	}
	var list []api.Binding
	err := k.aside(ctx, func(there context.Context) (err error) {
		list, err = k.conf.Agent.Bindings(there)
		return err
	})
	switch {
	case errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		err = errRevoked
	case errors.Is(err, errEnded):
		err = errStopping
	}
	line := []byte(nil)
	if err == nil {
		line, err = json.Marshal(map[string][]api.Binding{"bindings": list})
	}
	if err != nil {
		k.fail(countBindings, err)
		return
	}
	k.write(countBindings, append(line, '\n'), resultOK)
}

// status tells how the agent is doing.
func (k *connection) status(op asked) {
	_, status := k.conf.Agent.Snapshot()
	line, err := json.Marshal(struct {
		Status Status `json:"status"`
	}{status})
	if err != nil {
		k.fail(op, err)
		return
	}
	k.write(op, append(line, '\n'), resultOK)
}

// refresh has the vault asked, and tells how the agent is doing after.
func (k *connection) refresh(ctx context.Context) {
	err := k.aside(ctx, func(there context.Context) error { return k.fresh.do(there, ctx, &k.tasks) })
	switch {
	case err == nil:
		k.status(countRefresh)
	case errors.Is(err, errGone), errors.Is(err, errStopping), errors.Is(err, errWaiting):
		k.fail(countRefresh, err)
	case errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		k.fail(countRefresh, errRevoked)
	case errors.Is(err, context.DeadlineExceeded):
		k.fail(countRefresh, api.NewError(api.ErrUnavailable, "the vault didn't answer the agent in time"))
	default:
		k.fail(countRefresh, api.NewError(api.ErrUnavailable, "the vault gave the agent no set: "+err.Error()))
	}
}

// misdirected returns why this agent isn't the one to answer a request: it serves another vault or resource. It
// returns nil if it is.
func (k *connection) misdirected(q request, status Status) error {
	switch {
	case q.Vault != "" && q.Vault != status.Vault:
		return &OtherVault{Socket: k.Path(), Serves: status.Vault, Named: q.Vault}
	case q.Resource != status.Resource:
		return ErrOtherResource
	}
	return nil
}

// reveal hands the set out: at once, or when it isn't the one any more that the client has.
func (k *connection) reveal(ctx context.Context, q request) {
	waited := false
	for tries := 0; tries < 100; tries++ { // each one but the first after a change
		set, status := k.conf.Agent.Snapshot()
		if err := k.misdirected(q, status); err != nil {
			k.fail(countReveal, err)
			return
		}
		switch {
		case status.State == Refused:
			k.fail(countReveal, errRevoked)
			return
		case status.State != Starting && set.Etag != q.Etag:
			if k.send(set, status) {
				return
			}
		case q.WaitSeconds > 0 && !waited:
			waited = true
			if err := k.wait(ctx, q); err != nil {
				k.fail(countReveal, err)
				return
			}
		case status.State == Starting:
			k.fail(countReveal, errStarting)
			return
		default:
			k.write(countReveal, append(appendHeard(nil, sameWord, status), '\n'), resultSame)
			return
		}
	}
	k.fail(countReveal, errNotNow)
}

// wait returns nil when the client has waited long enough or there is something new.
func (k *connection) wait(ctx context.Context, q request) error {
	err := k.aside(ctx, func(there context.Context) error {
		there, cancel := context.WithTimeout(there, time.Duration(q.WaitSeconds)*time.Second)
		defer cancel()
		_, err := k.conf.Agent.Wait(there, q.Etag)
		return err
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		return nil // the state tells
	case errors.Is(err, errEnded):
		return errStopping
	}
	return err
}

// aside moves the connection to those that wait, and gives do a context that ends when the client hangs up.
// Errors: errWaiting, errGone, errStopping; those of do.
func (k *connection) aside(ctx context.Context, do func(there context.Context) error) error {
	if !k.waiting.acquire(k.peer.uid, k.trusted) {
		k.denials.log(k.conf.Log, k.peer, "too many wait")
		return errWaiting
	}
	k.holds.release(k.peer.uid, k.trusted)
	k.holds = &k.waiting
	there, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan bool, 1)
	_ = k.conn.SetReadDeadline(time.Time{})
	k.tasks.Go(func() {
		var more [1]byte
		_, err := k.conn.Read(more[:]) // a client has nothing more to say
		cancel()
		gone <- !errors.Is(err, os.ErrDeadlineExceeded)
	})
	err := do(there)
	_ = k.conn.SetReadDeadline(time.Now())
	switch hungUp := <-gone; {
	case ctx.Err() != nil:
		return errStopping
	case hungUp:
		return errGone
	}
	return err
}

// readRequest reads a line, or an HTTP request's head.
func readRequest(r io.Reader) ([]byte, error) {
	buf, n := make([]byte, maxRequest), 0
	for {
		m, err := r.Read(buf[n:])
		n += m
		if bytes.HasPrefix(buf[:n], getWord) {
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
