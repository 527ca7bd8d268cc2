package attacktest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

func init() {
	loops["TestAttack_KeysMultiplyTheRate"] = func(ctx context.Context, a *attacker) {
		a.workers(ctx, 32, 2*time.Millisecond, func(worker, turn int) {
			a.send(a.Clients[(worker+turn*7)%len(a.Clients)], "GET", "/egress/bindings", nil)
		})
	}
	loops["TestAttack_IdleConnectionsWithoutAKey"] = func(ctx context.Context, a *attacker) {
		var mu sync.Mutex
		var open []net.Conn
		a.workers(ctx, 10, 50*time.Millisecond, func(_, _ int) {
			if conn := a.dial(a.Clients[0].Addr, "GET /healthz HTTP/1.1\r\nHost:"); conn != nil {
				mu.Lock()
				defer mu.Unlock()
				open = append(open, conn)
			}
		})
	}
	loops["TestAttack_ConnectionsOfTwoTenants"] = func(ctx context.Context, a *attacker) {
		a.workers(ctx, 100, 100*time.Millisecond, func(worker, _ int) {
			c := a.Clients[worker%len(a.Clients)]
			conn := a.dial(c.Addr, "GET /api/v1/egress/bindings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.Key+"\r\n\r\n")
			if conn == nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			_, _ = io.Copy(io.Discard, conn) // until the vault closes it
			_ = conn.Close()
		})
	}
	loops["TestAttack_WaitsOfOneTenant"] = func(ctx context.Context, a *attacker) {
		a.workers(ctx, 200, 100*time.Millisecond, func(worker, _ int) {
			n := worker % (len(a.Clients) - 1)
			sandbox := fmt.Sprint("wait_", n)
			ask, err := request(sandbox, api.Etag(api.Resource{Type: api.Sandbox, ID: sandbox}, nil), 30)
			if err != nil {
				a.count("error")
				return
			}
			a.send(a.Clients[n+1], "POST", "/egress/bindings/reveal", ask)
		})
	}
}

// The rate of a tenant doesn't grow with the number of its keys.
func TestAttack_KeysMultiplyTheRate(t *testing.T) {
	attack{
		flags:  []string{"--limit", "tenant_requests=200,tenant_burst=400"},
		limits: []string{"tenant_requests"},
		prepare: func(t *testing.T, v *vault, own client) attacker {
			from := attacker{Clients: []client{own}}
			for i := range 9 {
				from.Clients = append(from.Clients, resourceKey(t, own, fmt.Sprint("many_", i)))
			}
			return from
		},
	}.run(t)
}

// A hundred connections that present no key, at a limit of 100, keep nobody out.
func TestAttack_IdleConnectionsWithoutAKey(t *testing.T) {
	attack{
		flags:  []string{"--limit", "connections=100"},
		limits: []string{"address_connections"},
	}.run(t)
}

// Two tenants that together hold all places of connections with a key, at a limit of 100, leave some for a third.
func TestAttack_ConnectionsOfTwoTenants(t *testing.T) {
	attack{
		flags:   []string{"--limit", "connections=100,address_connections=100"},
		limits:  []string{"connections"},
		prepare: twoTenants,
	}.run(t)
}

// twoTenants attacks with a second tenant.
func twoTenants(t *testing.T, v *vault, own client) attacker {
	t.Helper()
	return attacker{Clients: []client{own, v.tenant(t, "accomplice")}}
}

// Waiting reveals of one tenant, under many keys, leave connections for others at a limit of 100.
func TestAttack_WaitsOfOneTenant(t *testing.T) {
	attack{
		flags:  []string{"--limit", "connections=100"},
		limits: []string{"tenant_waits"},
		prepare: func(t *testing.T, v *vault, own client) attacker {
			from := attacker{Clients: []client{own}}
			for i := range 4 {
				from.Clients = append(from.Clients, resourceKey(t, own, fmt.Sprint("wait_", i)))
			}
			return from
		},
	}.run(t)
}
