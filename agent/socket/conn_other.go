//go:build !linux

package socket

import (
	"context"
	"time"
)

// conn is a client's connection. There is no agent to connect to on this system.
type conn struct {
	fd       int
	timedOut bool
}

func newConn(string, time.Duration) (*conn, error) { return nil, ErrNoAgent }

func (*conn) close() {}

func (*conn) exchange(context.Context, request, time.Duration) (reply, error) {
	return reply{}, ErrNoAgent
}
