package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// request is the report of one request.
func request(id string, r api.Resource, host string) string {
	return fmt.Sprintf(`{"id":"%s","occurred_at":"2026-01-02T03:04:05Z","resource_type":"%s","resource_id":"%s","host":"%s","method":"GET","path":"/v1","status_code":200,"effect":"allow"}`,
		strings.Repeat("0", 16)+id, r.Type, r.ID, host)
}

// follow opens a stream of a resource's events, as the SDKs do: with the key in a header, or in the query.
func follow(t testing.TB, s *vaulttest.Server, key api.Key, id string, inQuery bool) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	to := strings.Replace(s.BaseURL, "http", "ws", 1) + "/egress/audit/resource/" + url.PathEscape(id)
	options := &websocket.DialOptions{Subprotocols: []string{"miosa-egress-audit-v1"}, HTTPHeader: http.Header{}}
	if inQuery {
		to += "?token=" + url.QueryEscape(key.Reveal())
	} else {
		options.HTTPHeader.Set("Authorization", "Bearer "+key.Reveal())
	}
	conn, answer, err := websocket.Dial(t.Context(), to, options)
	if conn != nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, answer, err
}

// next returns the next event of a stream.
func next(t testing.TB, conn *websocket.Conn) (e api.Event, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	kind, text, err := conn.Read(ctx)
	if err != nil {
		return e, err
	}
	if kind != websocket.MessageText {
		t.Errorf("a message of kind %v", kind)
	}
	return e, json.Unmarshal(text, &e)
}

// The stream has the events of its resource from its start on, of traffic and others, once each and in order.
func TestFollowAudit(t *testing.T) {
	for _, inQuery := range []bool{false, true} {
		t.Run(fmt.Sprintf("key in query %v", inQuery), func(t *testing.T) {
			s := vaulttest.Start(t)
			broker, _ := brokerKey(t, s, sandbox.String(), other.String())
			ask(t, s, broker, "POST", "/egress/traffic", `{"events":[`+request("before", sandbox, "before.example.com")+`]}`)
			conn, answer, err := follow(t, s, s.TenantKey, sandbox.ID, inQuery)
			if err != nil {
				t.Fatal(err)
			}
			if conn.Subprotocol() != "miosa-egress-audit-v1" || answer.Header.Get("X-Request-ID") == "" {
				t.Errorf("subprotocol %q, header %v", conn.Subprotocol(), answer.Header)
			}
			ask(t, s, broker, "POST", "/egress/traffic", `{"events":[`+request("1", sandbox, "a.example.com")+`,`+request("2", other, "other.example.com")+`]}`)
			ask(t, s, broker, "POST", "/egress/traffic", `{"events":[`+request("1", sandbox, "a.example.com")+`,`+request("3", sandbox, "b.example.com")+`]}`)
			for _, host := range []string{"a.example.com", "b.example.com"} {
				if e, err := next(t, conn); err != nil || e.Host != host || e.Action != "traffic.allow" || e.ResourceID != sandbox.ID || e.InsertedAt.IsZero() {
					t.Fatalf("%+v, %v, want one of %s", e, err, host)
				}
			}
			s.Put(t, "github", "v", sandbox, "GH_TOKEN")
			if e, err := next(t, conn); err != nil || e.ResourceID != sandbox.ID || !strings.HasSuffix(e.Action, ".create") {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// What the route refuses, it refuses as others do, before it upgrades.
func TestFollowAuditRefusals(t *testing.T) {
	s := vaulttest.Start(t)
	broker, _ := brokerKey(t, s, sandbox.String())
	unpermitted, _ := mint(t, s, s.TenantKey, `{"permissions":["secrets:read"]}`)
	for _, tt := range []struct {
		name   string
		key    api.Key
		status int
	}{
		{"unknown", api.NewKey(api.TenantKeyPrefix), 401}, {"of a broker", broker, 403}, {"of a resource", s.ResourceKey(t, sandbox), 403},
		{"without the permission", unpermitted, 403},
	} {
		_, answer, err := follow(t, s, tt.key, sandbox.ID, false)
		if err == nil || answer == nil || answer.StatusCode != tt.status {
			t.Errorf("%s: %v, %v, want %d", tt.name, answer, err, tt.status)
		}
	}
	t.Run("too many", func(t *testing.T) {
		vaulttest.OneVault(t, "limits are each vault's")
		s := vaulttest.Start(t, func(c *vault.Config) { c.Limits[limit.KeyWaits] = 1 })
		first, _, err := follow(t, s, s.TenantKey, sandbox.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, answer, err := follow(t, s, s.TenantKey, sandbox.ID, false); err == nil || answer == nil || answer.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%v, %v, want 429", answer, err)
		}
		_ = first.Close(websocket.StatusNormalClosure, "")
		poll.Until(t, time.Minute, "the place is free again", func() bool {
			conn, _, err := follow(t, s, s.TenantKey, sandbox.ID, false)
			if err == nil {
				_ = conn.CloseNow()
			}
			return err == nil
		})
	})
}

// A key that is restricted to a resource follows that one only.
func TestFollowAuditOfARestrictedKey(t *testing.T) {
	s := vaulttest.Start(t)
	broker, _ := brokerKey(t, s, sandbox.String(), other.String())
	key, _ := mint(t, s, s.TenantKey, toJSON(t, map[string]any{"permissions": []string{"audit:read"}, "resources": []string{other.String()}}))
	own, _, err := follow(t, s, key, other.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, err := follow(t, s, key, sandbox.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, s, broker, "POST", "/egress/traffic", `{"events":[`+request("1", sandbox, "a.example.com")+`,`+request("2", other, "b.example.com")+`]}`)
	if e, err := next(t, own); err != nil || e.Host != "b.example.com" {
		t.Errorf("%+v, %v", e, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // more than an interval
	defer cancel()
	if _, text, err := foreign.Read(ctx); err == nil {
		t.Errorf("an event of another resource: %s", text)
	}
}

// A stream ends when its key is revoked, with a status that says so, and when the vault stops.
func TestFollowAuditEnds(t *testing.T) {
	vaulttest.OneVault(t, "the proxy cuts off what a vault writes when it stops")
	s := vaulttest.Start(t)
	key, id := mint(t, s, s.TenantKey, `{}`)
	revoked, _, err := follow(t, s, key, sandbox.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	stopped, _, err := follow(t, s, s.TenantKey, sandbox.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if a := ask(t, s, s.TenantKey, "DELETE", "/egress/keys/"+id, ""); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if _, err := next(t, revoked); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("revoked: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := next(t, stopped)
		ended <- err
	}()
	s.Stop(t)
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("stopped: %v", err)
	}
}

// A client that doesn't read loses its stream, and costs no other client anything.
func TestAttack_FollowerThatDoesNotRead(t *testing.T) {
	vaulttest.OneVault(t, "the proxy reads what the client doesn't")
	s := vaulttest.Start(t)
	broker, _ := brokerKey(t, s, sandbox.String())
	slow, _, err := follow(t, s, s.TenantKey, sandbox.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := follow(t, s, s.TenantKey, sandbox.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Repeat("p", 1000)
	const batches, each = 16, 400 // megabytes: more than the buffers of the sockets
	go func() {
		for b := range batches {
			events := make([]string, each)
			for i := range events {
				events[i] = strings.Replace(request(fmt.Sprint(b, "-", i), sandbox, "a.example.com"), `"/v1"`, `"/`+path+`"`, 1)
			}
			ask(t, s, broker, "POST", "/egress/traffic", `{"events":[`+strings.Join(events, ",")+`]}`)
		}
	}()
	for i := range batches * each {
		if _, err := next(t, reader); err != nil {
			t.Fatalf("after %d events: %v", i, err)
		}
	}
	poll.Until(t, time.Minute, "the slow stream is closed", func() bool {
		return metric(t, s, "miosa_vault_audit_streams") == 1
	})
	for {
		if _, err := next(t, slow); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("it is open")
			}
			return
		}
	}
}
