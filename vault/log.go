package vault

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// listAudit answers with a page of events, or with the hosts in them.
func (v *Vault) listAudit(c *call, f store.AuditFilter) (reply, error) {
	switch f.GroupBy {
	case "":
		if err := c.memory.Grow(c.ctx(), 2*f.PageBytes()); err != nil { // with its JSON
			return reply{}, err
		}
		events, next, err := v.store.Audit(c.ctx(), c.actor, f)
		return listOf("events", events, next), err
	case "host":
		groups, partial, err := v.store.AuditHosts(c.ctx(), c.actor, f)
		body := map[string]any{"groups": groups}
		if partial {
			body["partial"] = true
		}
		return reply{body: body}, err
	}
	return reply{}, api.NewError(api.ErrInvalid, "group_by must be host")
}

func (v *Vault) auditHead(c *call, _ none) (reply, error) {
	head, err := v.store.AuditHead(c.ctx(), c.actor)
	return reply{body: data{head}}, err
}

// verification is the query of GET /egress/audit/verify.
type verification struct {
	Limit  int    `query:"limit"`
	Cursor string `query:"cursor"`
}

// maxVerified is how many events one request verifies, so that a large log takes many requests, which are limited.
const maxVerified = 5000

// verifyAudit verifies the next part of the tenant's log.
func (v *Vault) verifyAudit(c *call, in verification) (reply, error) {
	if in.Limit > maxVerified {
		return reply{}, api.NewError(api.ErrInvalid, "limit must be 1 to 5000")
	}
	verifier, err := audit.ContinueAt(in.Cursor)
	if err != nil {
		return reply{}, err
	}
	check, err := v.store.VerifyAudit(c.ctx(), c.actor, verifier, cmp.Or(in.Limit, 1000))
	body := map[string]any{"data": check}
	if err == nil && !check.Complete && check.Problem == nil {
		body["next_cursor"] = verifier.Cursor()
	}
	return reply{body: body}, err
}

// auditProtocol is the subprotocol of the WebSockets that show a resource's events.
const auditProtocol = "miosa-egress-audit-v1"

const (
	followInterval = 2 * time.Second  // between two looks for events that other processes have written, or that aren't of traffic
	followTimeout  = 10 * time.Second // for a client to take an event, or to answer a ping
	pingInterval   = 30 * time.Second
)

// auditStreamPath is that of followAudit, under basePath.
const auditStreamPath = "/egress/audit/resource/{id}"

// followAudit sends the events of a resource from now on, each as a message, until the client leaves or takes too long, the key ends, or
// the vault stops.
func (v *Vault) followAudit(c *call, _ none) (reply, error) {
	if !strings.EqualFold(c.r.Header.Get("Upgrade"), "websocket") {
		return reply{}, api.NewError(api.ErrMalformed, "this call is a WebSocket with the subprotocol "+auditProtocol+"; GET /egress/audit lists events")
	}
	release, err := v.limits.requests.Wait(c.actor.KeyID, c.actor.TenantID)
	if err != nil {
		return reply{}, err
	}
	defer release()
	written := make(chan struct{}, 1)
	defer v.store.SubscribeTraffic(c.actor, func() {
		select {
		case written <- struct{}{}:
		default:
		}
	})()
	seq, err := v.store.AuditEnd(c.ctx(), c.actor)
	if err != nil {
		return reply{}, err
	}
	observed(c.w).upgraded = true // Accept answers, whatever happens
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{Subprotocols: []string{auditProtocol}})
	if err != nil {
		return reply{}, nil
	}
	defer func() { _ = conn.CloseNow() }()
	v.metrics.following.Inc()
	defer v.metrics.following.Dec()
	f := &follower{vault: v, conn: conn, actor: c.actor, resourceID: c.id(), seq: seq}
	f.run(conn.CloseRead(context.WithoutCancel(c.ctx())), written)
	return reply{}, nil
}

// follower is a WebSocket that shows the events of resources with an id.
type follower struct {
	vault      *Vault
	conn       *websocket.Conn
	actor      store.Actor
	resourceID string
	seq        int64 // the position of the newest event that was sent
}

// run sends events until the vault stops, or ctx ends: the client has left. A context that ends during a read or write breaks the
// connection, so the one of the stop isn't among its parents.
func (f *follower) run(ctx context.Context, written <-chan struct{}) {
	look, ping := time.NewTicker(followInterval), time.NewTicker(pingInterval)
	defer look.Stop()
	defer ping.Stop()
	for {
		if err := f.send(ctx); err != nil {
			f.end(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-f.vault.draining.Done():
			f.end(errStopping)
			return
		case <-written:
		case <-look.C:
		case <-ping.C:
			alive, cancel := context.WithTimeout(ctx, followTimeout)
			err := f.conn.Ping(alive)
			cancel()
			if err != nil {
				return
			}
		}
	}
}

// send sends the events that were written meanwhile.
func (f *follower) send(ctx context.Context) error {
	for {
		events, next, err := f.vault.store.AuditAfter(ctx, f.actor, f.seq, f.resourceID)
		if err != nil {
			return err
		}
		sent := 0
		for i := range events {
			text := encode(&events[i])
			taken, cancel := context.WithTimeout(ctx, followTimeout)
			err := f.conn.Write(taken, websocket.MessageText, text)
			cancel()
			if err != nil {
				return err
			}
			sent += len(text)
		}
		f.vault.limits.requests.Transferred(f.actor.TenantID, sent)
		f.seq = next
		if len(events) == 0 {
			return nil
		}
	}
}

// end tells the client why there are no more events.
func (f *follower) end(err error) {
	switch {
	case errors.Is(err, errStopping), f.vault.draining.Err() != nil:
		_ = f.conn.Close(websocket.StatusGoingAway, "the vault is stopping")
	case api.RefusesKey(err):
		_ = f.conn.Close(websocket.StatusPolicyViolation, "the key was revoked or has expired")
	case api.Temporary(err):
		_ = f.conn.Close(websocket.StatusTryAgainLater, "the vault can't read its database now")
	}
}

// keyInQuery takes the key from the query, where SDKs put it: browsers can't set the headers of a WebSocket.
func keyInQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := r.URL.Query().Get("token"); key != "" && r.Header.Get("Authorization") == "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		next.ServeHTTP(w, r)
	})
}
