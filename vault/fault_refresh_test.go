package vault

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// withoutScheduler stops the scheduler, so that only the test starts refreshes.
func (c *connected) withoutScheduler() *connected {
	c.vault.refresh.stop()
	c.vault.refresh.active.Wait()
	return c
}

func (c *connected) wantHealth(status, word string) {
	c.t.Helper()
	got := oauth.ConnectionOf(c.secret().Metadata)
	if diff := cmp.Diff(oauth.Connection{Provider: "acme", Scopes: []string{"read"}, Status: status, Error: word}, got); diff != "" {
		c.t.Errorf("metadata.oauth (-want +got)\n%s", diff)
	}
}

// V6. The provider commits a refresh and the reply is lost: the old refresh token is tried once more, soon. This
// provider treats that as theft, as RFC 9700 requires, so the user has to connect again. The last value is kept.
func TestFault_V6_ReplyLost(t *testing.T) {
	for name, lost := range map[string]failure{
		"connection closed": {drop: true}, "answered 500": {after: 500}, "answered 502": {after: 502}, "cut short": {after: 200},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, 3600).withoutScheduler()
			before := c.value()
			c.provider.set(func(p *provider) { p.fail = func(string) failure { return lost } })
			if err := c.renew(); err == nil {
				t.Fatal("refreshed")
			}
			word := oauth.ConnectionOf(c.secret().Metadata).Error
			c.wantHealth(api.OAuthRetrying, word)
			var due int64
			look(t, c.vault.store, &due, `SELECT due_at FROM oauth_grants`)
			if wait := time.Until(time.UnixMicro(due)); wait > 2*time.Second {
				t.Errorf("the second attempt is due in %s", wait)
			}
			c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{} } })
			if err := c.renew(); err == nil {
				t.Fatal("refreshed")
			}
			c.wantHealth(api.OAuthReconnect, "invalid_grant")
			if c.value() != before || c.secret().Version != 1 {
				t.Error("the last value is gone")
			}
			asked := c.provider.requests()
			if err := c.renew(); err != nil || c.provider.requests() != asked {
				t.Errorf("sent another request after a refusal: %v", err)
			}
			events := audited(t, c.vault.store, c.owner, "oauth.refresh")
			if len(events) != 2 || events[0].Outcome != api.OutcomeFailed || events[1].Outcome != api.OutcomeDenied ||
				events[1].Detail != "acme: invalid_grant" || events[1].KeyID != "oauth" {
				t.Errorf("audit: %+v", events)
			}
		})
	}
}

// Nothing is lost with a provider that accepts the old refresh token for a grace period.
func TestFault_V6_ReplyLostProviderForgives(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	before := c.value()
	c.provider.set(func(p *provider) {
		p.fail = func(string) failure {
			for old := range p.refresh {
				p.refresh[old] = true
			}
			return failure{drop: len(p.asked) == 2}
		}
	})
	if err := c.renew(); err == nil {
		t.Fatal("refreshed")
	}
	c.provider.set(func(p *provider) {
		for old := range p.refresh {
			p.refresh[old] = true
		}
	})
	if err := c.renew(); err != nil {
		t.Fatal(err)
	}
	c.wantHealth(api.OAuthConnected, "")
	if c.secret().Version != 2 || c.value() == before {
		t.Error("not refreshed")
	}
}

// If the second attempt is unclear too, the connection reports it. Attempts continue, and a successful one clears
// it.
func TestFault_V6_UnclearTwice(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	before := c.value()
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{before: 500, code: "x"} } })
	_ = c.renew()
	c.wantHealth(api.OAuthRetrying, "x")
	_ = c.renew()
	c.wantHealth(api.OAuthReconnect, "x")
	_ = c.renew()
	if n := len(audited(t, c.vault.store, c.owner, "oauth.refresh")); n != 2 {
		t.Errorf("%d events for three failures, want one for each of two distinct failures", n)
	}
	if c.value() != before {
		t.Error("the last value is gone")
	}
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{} } })
	if err := c.renew(); err != nil {
		t.Fatal(err)
	}
	c.wantHealth(api.OAuthConnected, "")
	if c.value() == before {
		t.Error("not refreshed")
	}
}

// Requests to an unavailable or busy provider are repeated until the provider itself refuses.
func TestFault_V6_ProviderDown(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{before: 503, code: "busy"} } })
	for range 5 {
		_ = c.renew()
		c.wantHealth(api.OAuthRetrying, "busy")
	}
	c.provider.Close()
	for range 5 {
		_ = c.renew()
		c.wantHealth(api.OAuthRetrying, "unreachable")
	}
	var failures, unclear int
	look(t, c.vault.store, &failures, `SELECT failures FROM oauth_grants`)
	look(t, c.vault.store, &unclear, `SELECT unclear FROM oauth_grants`)
	if failures != 10 || unclear != 0 {
		t.Errorf("%d failures, %d unclear", failures, unclear)
	}
}

// A refused client is for the operator to fix: connecting again would not help.
func TestFault_V6_ClientRefused(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	c.provider.set(func(p *provider) {
		p.fail = func(string) failure { return failure{before: 401, code: "invalid_client"} }
	})
	_ = c.renew()
	_ = c.renew()
	c.wantHealth(api.OAuthRetrying, "invalid_client")
	c.provider.set(func(p *provider) { p.fail = func(string) failure { return failure{} } })
	if err := c.renew(); err != nil {
		t.Fatal(err)
	}
	c.wantHealth(api.OAuthConnected, "")
}

// V6. A crash before the request to the provider, and one between its reply and storing it: the old refresh token
// is on disk, and the next process uses it.
func TestFault_V6_CrashBetweenSteps(t *testing.T) {
	for _, test := range []struct {
		at      string
		renewed bool // by the next process: the provider has not seen the old refresh token yet
	}{{"claimed", true}, {"answered", false}} {
		t.Run(test.at, func(t *testing.T) {
			c := connect(t, 3600).withoutScheduler()
			before := c.value()
			c.vault.refresh.step = func(name string) error {
				if name == test.at {
					return errCrash
				}
				return nil
			}
			if err := c.renew(); !errors.Is(err, errCrash) {
				t.Fatalf("got %v", err)
			}
			c.reopen()
			c.withoutScheduler()
			if c.value() != before || c.secret().Version != 1 {
				t.Fatal("the value is gone")
			}
			// The claim is still held: no request is sent until it expires.
			alter(t, c.vault.store, `UPDATE oauth_grants SET due_at = 1`)
			asked := c.provider.requests()
			if _, err := c.vault.store.ClaimRefresh(t.Context(), c.owner.TenantID, c.secret().ID, 0); !errors.Is(err, store.ErrClaimed) {
				t.Errorf("claimed twice: %v", err)
			}
			err := c.renew()
			if c.provider.requests() != asked+1 {
				t.Errorf("asked %d times", c.provider.requests()-asked)
			}
			if test.renewed {
				if err != nil || c.value() == before {
					t.Errorf("not refreshed: %v", err)
				}
				c.wantHealth(api.OAuthConnected, "")
				return
			}
			c.wantHealth(api.OAuthReconnect, "invalid_grant")
			if c.value() != before {
				t.Error("the last value is gone")
			}
		})
	}
}

// V6. A crash after storing: nothing is lost, and the next process refreshes with the new refresh token.
func TestFault_V6_CrashAfterStoring(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	for version := int64(2); version < 6; version++ {
		if err := c.renew(); err != nil {
			t.Fatal(err)
		}
		c.reopen()
		c.withoutScheduler()
		if got := c.secret().Version; got != version {
			t.Fatalf("version %d, want %d", got, version)
		}
	}
	c.wantHealth(api.OAuthConnected, "")
}

// V6. Storing the new token is retried while the disk is full, because the provider no longer accepts the old one.
func TestFault_V6_DiskFullAtStoring(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	c := connect(t, 3600).withoutScheduler()
	before := c.value()
	c.provider.set(func(p *provider) { p.padding = 100_000 })
	var pages, got int
	look(t, c.vault.store, &pages, `PRAGMA page_count`)
	limit := func(n int) { look(t, c.vault.store, &got, `PRAGMA max_page_count = `+strconv.Itoa(n)) }
	c.vault.refresh.step = func(name string) error {
		if name == "answered" {
			limit(pages) // SQLite then returns SQLITE_FULL, as it does for ENOSPC
		}
		return nil
	}
	c.due()
	renewed := c.vault.refresh.start(t.Context(), c.owner.TenantID, c.secret().ID, 0)
	poll.Until(t, 10*time.Second, "refused by the disk", func() bool { return c.vault.store.Ready(t.Context()) != nil })
	if c.secret().Version != 1 {
		t.Error("the version advanced although it was not stored")
	}
	limit(1 << 20)
	if got := <-renewed; got.Err != nil {
		t.Fatal(got.Err)
	}
	if c.secret().Version != 2 || c.value() == before {
		t.Error("not refreshed")
	}
	c.vault.refresh.step = func(string) error { return nil }
	if err := c.renew(); err != nil { // uses the refresh token that was stored late
		t.Error(err)
	}
}

// V7, one process: 100 concurrent reveals of an expired token cause one request to the provider, and all get the
// new token.
func TestFault_V7_OneUpstreamRefresh(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	before, asked := c.value(), c.provider.requests()
	alter(t, c.vault.store, `UPDATE secrets SET expires_at = 1`)
	if c.value() != "" {
		t.Fatal("revealed an expired token")
	}
	c.due()
	c.vault.refresh.any.Store(true)
	held := make(chan struct{})
	c.provider.set(func(p *provider) { p.held = held })
	const callers = 100
	var all sync.WaitGroup
	got := make([]string, callers)
	begun := make(chan struct{}, callers)
	for i := range callers {
		all.Go(func() {
			begun <- struct{}{}
			if err := c.vault.refresh.expired(context.Background(), c.reader, box1); err != nil {
				t.Error(err)
			}
			got[i] = revealed(t, c.vault.store, c.reader)["ACME_TOKEN"]
		})
	}
	for range callers {
		<-begun
	}
	poll.Until(t, 10*time.Second, "asked", func() bool { return c.provider.requests() > asked })
	close(held)
	all.Wait()
	if n := c.provider.requests() - asked; n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	for i, v := range got {
		if v == "" || v == before || v != got[0] {
			t.Fatalf("caller %d has another token", i)
		}
	}
	if c.secret().Version != 2 {
		t.Errorf("version %d", c.secret().Version)
	}
}

// V7, two processes on one store: both schedulers run, and the provider still gets one request.
func TestFault_V7_TwoProcessesOneRefresh(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	other, err := Open(t.Context(), c.conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.refresh.stop()
	other.refresh.active.Wait()
	asked := c.provider.requests()
	id := c.secret().ID
	held := make(chan struct{})
	c.provider.set(func(p *provider) { p.held = held })
	c.due()
	first := c.vault.refresh.start(t.Context(), c.owner.TenantID, id, 1)
	poll.Until(t, 10*time.Second, "asked", func() bool { return c.provider.requests() > asked })
	second := other.refresh.start(t.Context(), c.owner.TenantID, id, 1)
	close(held)
	if a, b := <-first, <-second; a.Err != nil || b.Err != nil {
		t.Errorf("%v, %v", a.Err, b.Err)
	}
	if n := c.provider.requests() - asked; n != 1 || c.secret().Version != 2 {
		t.Errorf("asked %d times, version %d", n, c.secret().Version)
	}
}

// The scheduler refreshes an expiring token before it expires, repeatedly, and each refresh wakes waiting reveals.
func TestTokensRenewThemselves(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := connect(t, 6)
	seen := map[string]bool{c.value(): true}
	for range 3 {
		etag := snapshot(t, c.vault.store, c.reader).Etag
		if err := c.vault.store.Await(t.Context(), c.reader, box1, etag, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		if len(snapshot(t, c.vault.store, c.reader).Bound) == 0 {
			t.Fatal("the token expired before it was refreshed")
		}
		seen[c.value()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d tokens", len(seen))
	}
	c.wantHealth(api.OAuthConnected, "")
	for _, e := range audited(t, c.vault.store, c.owner, "secret.rotate") {
		if e.KeyID != "oauth" {
			t.Errorf("rotated by %s", e.KeyID)
		}
	}
}

// A token without a refresh token is reported when it expires, not before.
func TestTokenThatCantBeRenewed(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	tamper(t, c.vault.store, `UPDATE secrets SET refresh_token = NULL`)
	if err := c.renew(); err == nil {
		t.Fatal("refreshed")
	}
	c.wantHealth(api.OAuthReconnect, "no_refresh_token")
}

// A value set by hand during a refresh is kept, and so is the refresh token that the provider returned.
func TestRotatedWhileRenewing(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	asked := c.provider.requests()
	held := make(chan struct{})
	c.provider.set(func(p *provider) { p.held = held })
	c.due()
	renewed := c.vault.refresh.start(t.Context(), c.owner.TenantID, c.secret().ID, 0)
	poll.Until(t, 10*time.Second, "asked", func() bool { return c.provider.requests() > asked })
	if w := c.do("PATCH", "/egress/secrets/"+c.secret().ID, `{"value":"by hand"}`); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	close(held)
	if got := <-renewed; got.Err != nil {
		t.Fatal(got.Err)
	}
	if c.value() != "by hand" || c.secret().Version != 2 {
		t.Error("the value set by hand is gone")
	}
	c.provider.set(func(p *provider) { p.held = nil })
	alter(t, c.vault.store, `UPDATE oauth_grants SET due_at = 1`)
	if err := c.renew(); err != nil {
		t.Errorf("the new refresh token was lost: %v", err)
	}
	if !strings.HasPrefix(c.value(), "at-") {
		t.Error("not refreshed")
	}
}

func TestDeletedWhileRenewing(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	held := make(chan struct{})
	asked := c.provider.requests()
	c.provider.set(func(p *provider) { p.held = held })
	c.due()
	id := c.secret().ID
	renewed := c.vault.refresh.start(t.Context(), c.owner.TenantID, id, 0)
	poll.Until(t, 10*time.Second, "asked", func() bool { return c.provider.requests() > asked })
	if err := c.vault.store.DeleteSecret(t.Context(), c.owner, id); err != nil {
		t.Fatal(err)
	}
	close(held)
	if got := <-renewed; got.Err != nil {
		t.Error(got.Err)
	}
	if got := <-c.vault.refresh.start(t.Context(), c.owner.TenantID, id, 0); got.Err != nil {
		t.Error(got.Err)
	}
}

// Refreshes and a rotation of the data keys can run concurrently.
func TestRenewedWhileKeysRotate(t *testing.T) {
	c := connect(t, 3600).withoutScheduler()
	c.vault.refresh.step = func(name string) error {
		if name == "answered" {
			_, err := c.vault.store.RotateKeys(context.Background(), "acme")
			return err
		}
		return nil
	}
	for range 3 {
		if err := c.renew(); err != nil {
			t.Fatal(err)
		}
	}
	if c.secret().Version != 4 || c.value() == "" {
		t.Errorf("version %d", c.secret().Version)
	}
}
