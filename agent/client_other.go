//go:build !linux

package agent

import (
	"context"
	"time"
)

// wire is nothing here: there is no agent to talk to.
type wire struct {
	fd     int
	silent bool
}

func newWire(string, time.Duration) (*wire, error) { return nil, ErrNoAgent }

func (*wire) close() {}

func (*wire) exchange(context.Context, request, time.Duration) (reply, error) {
	return reply{}, ErrNoAgent
}
