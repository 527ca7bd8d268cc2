package postgres

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/silence"
)

// dialer connects to the server, and notices when the network has lost it.
var dialer = &net.Dialer{
	KeepAliveConfig: silence.KeepAlive,
	Control:         func(_, _ string, conn syscall.RawConn) error { silence.Set(conn); return nil },
}

// answerLimit is how long a connection waits for the server, which interrupts statements itself. A server that hangs doesn't, and its
// machine may still acknowledge what is sent to it, so that only this ends the wait.
const answerLimit = 45 * time.Second

// dialLimited is dialer.DialContext with the answerLimit.
func dialLimited(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return limited{conn}, nil
}

// limited is a connection with the answerLimit.
type limited struct{ net.Conn }

// Write starts the wait for the answer.
func (c limited) Write(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
