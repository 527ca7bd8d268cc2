package attacktest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

func init() {
	loops["TestAttack_WholeLists"] = func(ctx context.Context, a *attacker) {
		a.workers(ctx, 8, 20*time.Millisecond, func(worker, _ int) {
			a.send(a.Clients[0], "GET", "/egress/secrets", nil)
		})
	}
	loops["TestAttack_ListsReadSlowly"] = func(ctx context.Context, a *attacker) {
		head := "GET /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + a.Clients[0].Key + "\r\n\r\n"
		a.workers(ctx, 64, time.Second, func(_, _ int) {
			if conn := a.dial(a.Clients[0].Addr, head); conn != nil {
				_, _ = io.CopyN(io.Discard, conn, 1<<10)
				<-ctx.Done()
				_ = conn.Close()
			}
		})
	}
	stall := func(ctx context.Context, a *attacker, length int) {
		half := `{"name":"stalled","value":"` + strings.Repeat("a", length/2)
		a.workers(ctx, 40, time.Second, func(worker, _ int) {
			c := a.Clients[worker%len(a.Clients)]
			conn := a.dial(c.Addr, "POST /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.Key+
				"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(length)+"\r\n\r\n")
			if conn == nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			go func() { _, _ = io.WriteString(conn, half) }()
			answer, _ := io.ReadAll(conn)
			if _, body, ok := strings.Cut(string(answer), "\r\n\r\n"); ok {
				a.refused(0, []byte(body))
			}
		})
	}
	loops["TestAttack_StalledBodies"] = func(ctx context.Context, a *attacker) { stall(ctx, a, 8<<20) }
	loops["TestAttack_StalledBodiesOfTwoTenants"] = func(ctx context.Context, a *attacker) {
		stall(ctx, a, 16<<20/3) // a body needs three times its length: 16 MiB, of the 64 MiB that a tenant may have
	}
	loops["TestAttack_LargeReveals"] = func(ctx context.Context, a *attacker) {
		a.workers(ctx, 6, 10*time.Millisecond, func(_, _ int) {
			ask, err := request("large", "", 0)
			if err != nil {
				a.count("error")
				return
			}
			a.send(a.Clients[1], "POST", "/egress/bindings/reveal", ask)
		})
	}
	loops["TestAttack_LargeValues"] = func(ctx context.Context, a *attacker) {
		value := strings.Repeat("v", api.MaxValueBytes)
		a.workers(ctx, 8, 20*time.Millisecond, func(worker, turn int) {
			a.send(a.Clients[0], "POST", "/egress/secrets", map[string]string{"name": fmt.Sprint("large_", worker, "_", turn), "value": value})
		})
	}
}

// Eight clients list all of many secrets, with much metadata.
func TestAttack_WholeLists(t *testing.T) {
	attack{prepare: manySecrets, limits: []string{"tenant_requests"}}.run(t)
}

// Clients that stop reading lists hold little memory, and no transaction.
func TestAttack_ListsReadSlowly(t *testing.T) {
	attack{prepare: manySecrets}.run(t)
}

// Forty bodies of 8 MiB that stop in the middle give up their places, and no others wait for them.
func TestAttack_StalledBodies(t *testing.T) {
	attack{limits: []string{"tenant_memory"}}.run(t)
}

// Two tenants that together ask for all memory leave some for a third.
func TestAttack_StalledBodiesOfTwoTenants(t *testing.T) {
	attack{
		flags:   []string{"--limit", "tenant_requests=10000,tenant_burst=20000"},
		limits:  []string{"memory"},
		prepare: twoTenants,
	}.run(t)
}

// Six clients reveal the largest set.
func TestAttack_LargeReveals(t *testing.T) {
	attack{
		limits: []string{"tenant_requests"},
		prepare: func(t *testing.T, v *vault, own client) attacker {
			for i := range 11 {
				put(t, own, fmt.Sprint("LARGE_", i), strings.Repeat("v", api.MaxValueBytes), "large")
			}
			return attacker{Clients: []client{own, resourceKey(t, own, "large")}}
		},
	}.run(t)
}

// A tenant stores as much as it can.
func TestAttack_LargeValues(t *testing.T) {
	attack{
		flags:  []string{"--limit", "tenant_bytes=12582912"},
		limits: []string{"tenant_bytes"},
		after: func(t *testing.T, v *vault) {
			// The values, and the database's log.
			if size := v.disk(t); size > 96<<20 {
				t.Errorf("the vault stores %d MiB", size>>20)
			}
		},
	}.run(t)
}

// manySecrets stores secrets with 10 MB of metadata.
func manySecrets(t *testing.T, _ *vault, own client) attacker {
	t.Helper()
	metadata := map[string]string{"about": strings.Repeat("m", 20<<10)}
	for i := range 500 {
		own.must(t, "POST", "/egress/secrets", map[string]any{"name": fmt.Sprint("s", i), "value": "v", "metadata": metadata}, nil)
	}
	return attacker{Clients: []client{own}}
}
