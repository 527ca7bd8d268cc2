package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
)

// answer answers a request. Errors are for the client, which has got no reply then.
func (c *connection) answer(line []byte) error {
	if bytes.HasPrefix(line, httpGet) {
		op, r, page := c.get(line)
		c.op = op
		c.write(page, r)
		return nil
	}
	q, err := parseRequest(line)
	if err != nil {
		return err
	}
	c.op = q.Op
	switch q.Op {
	case opReveal:
		return c.reveal(q)
	case opBindings:
		return c.bindings(q)
	case opRefresh:
		if err := c.refresh(); err != nil {
			return err
		}
	}
	_, status := c.conf.Engine.Snapshot()
	return c.writeJSON(body{Status: &status})
}

func (c *connection) writeJSON(b body) error {
	line, err := json.Marshal(b)
	if err == nil {
		c.write(append(line, '\n'), resultOK)
	}
	return err
}

// reveal sends the set: at once, or as soon as it differs from the one that the client has.
func (c *connection) reveal(q request) error {
	waited := q.WaitSeconds == 0
	for range 100 { // each time but the first after a change
		set, status := c.conf.Engine.Snapshot()
		if err := c.misdirected(q, status); err != nil {
			return err
		}
		switch {
		case status.State == agent.Refused:
			return errRevoked
		case status.State != agent.Starting && set.Etag != q.Etag:
			if c.sendSet(set, status) {
				return nil
			}
		case !waited:
			waited = true
			if err := c.waitForChange(q); err != nil {
				return err
			}
		case status.State == agent.Starting:
			return agent.ErrNoSet
		default:
			c.write(append(appendHead(nil, wordSame, status), '\n'), resultSame)
			return nil
		}
	}
	return errNotNow
}

// misdirected returns the error for a client that asks for another vault or resource; nil if this agent serves what it
// asks for.
func (c *connection) misdirected(q request, status agent.Status) error {
	switch {
	case q.Vault != "" && q.Vault != status.Vault:
		return &OtherVault{Socket: c.Path(), Serves: status.Vault, Named: q.Vault}
	case q.Resource != status.Resource:
		return ErrOtherResource
	}
	return nil
}

// waitForChange returns nil when the set may have changed or the client doesn't want to wait any longer.
func (c *connection) waitForChange(q request) error {
	return c.wait(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(q.WaitSeconds)*time.Second)
		defer cancel()
		_, err := c.conf.Engine.Wait(ctx, q.Etag)
		if errors.Is(err, context.DeadlineExceeded) || api.RefusesKey(err) {
			return nil // the state shows it
		}
		return err
	})
}

// bindings sends the bindings, without values.
func (c *connection) bindings(q request) error {
	_, status := c.conf.Engine.Snapshot()
	if err := c.misdirected(q, status); err != nil {
		return err
	}
	var list []api.Binding
	err := c.wait(func(ctx context.Context) (err error) {
		if list, err = c.conf.Engine.Bindings(ctx); api.RefusesKey(err) {
			err = errRevoked
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.writeJSON(body{Bindings: list})
}

// refresh has the engine ask the vault.
func (c *connection) refresh() error {
	return c.wait(func(ctx context.Context) error {
		err := c.refresher.do(ctx, c.ctx, &c.tasks)
		switch {
		case err == nil:
			return nil
		case api.RefusesKey(err):
			return errRevoked
		case errors.Is(err, context.DeadlineExceeded):
			return api.NewError(api.ErrUnavailable, "the vault didn't answer the agent in time")
		}
		return api.NewError(api.ErrUnavailable, "the vault gave the agent no set: "+err.Error())
	})
}
