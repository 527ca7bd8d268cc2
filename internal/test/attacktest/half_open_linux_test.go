package attacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/halfopen"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

const (
	halfOpen     = 5000 // connections, a third of each kind
	halfOpenKeys = 30   // keys of the dead peers, each of which may have 64 waiting reveals
)

func init() {
	// The vault closes each connection at some time; then there is another one.
	loops["TestFault_V9_HalfOpenConnections"] = func(ctx context.Context, a *attacker) {
		var all sync.WaitGroup
		for i := range halfOpen {
			all.Go(func() {
				for ctx.Err() == nil {
					if err := a.holdHalfOpen(ctx, i); err != nil && ctx.Err() == nil {
						a.count("error")
					}
					_ = delay.Sleep(ctx, delay.Random(time.Second))
				}
			})
		}
		all.Wait()
	}
}

// holdHalfOpen opens a connection and leaves it as it is until the vault closes it: without a request, with half a header, or with a
// waiting reveal by a client that is gone. Of the latter the vault gets no segment any more, and so it isn't told when it closes it.
func (a *attacker) holdHalfOpen(ctx context.Context, i int) error {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
	to := a.Clients[i/3%len(a.Clients)]
	conn, err := d.DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	switch i % 3 {
	case 1:
		_, err = io.WriteString(conn, "POST /api/v1/egress/bindings/reveal HTTP/1.1\r\nHost: x\r\nAuthorization: Bea")
	case 2:
		if err = to.sendWait(conn); err == nil {
			err = halfopen.DropReceived(conn.(*net.TCPConn))
		}
		if err == nil {
			<-ctx.Done()
			return nil
		}
	}
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

// sendWait sends a reveal that waits.
func (c client) sendWait(conn net.Conn) error {
	const sandbox = "half-open"
	ask, err := request(sandbox, api.Etag(api.Resource{Type: api.Sandbox, ID: sandbox}, nil), 50)
	if err != nil {
		return err
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "POST /api/v1/egress/bindings/reveal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", c.Key, len(body), body)
	return err
}

// 5,000 connections without a request, with half a header, or of clients that are gone don't slow the reveals of others.
func TestFault_V9_HalfOpenConnections(t *testing.T) {
	needFiles(t, halfOpen+1000)
	attack{
		prepare: func(t *testing.T, _ *vault, own client) (a attacker) {
			for range halfOpenKeys {
				a.Clients = append(a.Clients, resourceKey(t, own, "half-open"))
			}
			return a
		},
		ready: func(t *testing.T, v *vault) {
			const most = 0.75 // the vault closes some, and they are opened again
			poll.Until(t, patience, "half-open connections", func() bool {
				return v.metric(t, "miosa_vault_waiting_reveals", "") > most*halfOpen/3 &&
					v.metric(t, "miosa_vault_keyless_connections", "") > most*halfOpen*2/3
			})
		},
	}.run(t)
}
