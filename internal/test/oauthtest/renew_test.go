package oauthtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/authserver"
	"github.com/Miosa-osa/miosa-env/internal/test/browser"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// connect connects "acme" to ACME_TOKEN as user who, in a new tab, and returns the secret's id.
func connect(t *testing.T, s *fixture, first context.Context, who string) (id string) {
	t.Helper()
	tab := browser.Tab(t, first, chromedp.WithNewBrowserContext())
	begun := s.start(t, "acme", "ACME_TOKEN")
	visit(t, tab, begun.AuthorizeURL, authserver.SignIn(who), authserver.Allow())
	status := s.status(t, begun)
	if status.Status != api.FlowCompleted {
		t.Fatalf("the flow is %q with error %q", status.Status, status.Error)
	}
	return status.SecretID
}

// Tokens with a lifetime of seconds are refreshed repeatedly, each with the refresh token of the previous
// response.
func TestRenewals(t *testing.T) {
	t.Parallel()
	first := browser.Start(t)
	for _, test := range []struct {
		name string
		keep bool // the provider does not rotate refresh tokens
		upTo int64
	}{
		{"new refresh tokens", false, 4},
		{"the same refresh token", true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, authserver.Start(t, authserver.Config{TokenLife: 3 * time.Second, KeepRefresh: test.keep}))
			id := connect(t, s, first, "ada")
			seen := map[string]bool{}
			last := int64(0)
			poll.Until(t, 40*time.Second, "enough versions were there", func() bool {
				value, version, ok := s.revealed(t, "ACME_TOKEN")
				if ok && version > last {
					last = version
					if seen[value] {
						t.Errorf("version %d has a token that was there before", version)
					}
					seen[value] = true
					s.worksFor(t, "ACME_TOKEN", value, "ada")
				}
				return last >= test.upTo
			})
			poll.Until(t, 10*time.Second, "each refresh made a version", func() bool {
				secret, _ := s.secret(t, id)
				return int64(s.provider.Requests(t, "refresh_token")) == secret.Version-1
			})
			if _, health := s.secret(t, id); health.Status != api.OAuthConnected {
				t.Errorf("the connection is %q: %s", health.Status, health.Error)
			}
		})
	}
}

// The provider rotates the refresh token and its response is lost. The vault tries once more; this provider treats
// that as theft and revokes the grant. The value stays, and the user has to connect again.
func TestLostRefresh(t *testing.T) {
	t.Parallel()
	first := browser.Start(t)
	for _, mode := range []authserver.Mode{authserver.FailAfter, authserver.DropAfter} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, authserver.Start(t, authserver.Config{TokenLife: 5 * time.Second}))
			id := connect(t, s, first, "ada")
			s.provider.Break(t, mode, 1, "")
			before, _ := s.secret(t, id)
			poll.Until(t, 30*time.Second, "somebody has to connect again", func() bool {
				_, health := s.secret(t, id)
				return health.Status == api.OAuthReconnect
			})
			after, health := s.secret(t, id)
			if after.Version != before.Version || after.MaskedValue != before.MaskedValue || !after.UpdatedAt.Equal(before.UpdatedAt) {
				t.Errorf("the value was changed: version %d, was %d", after.Version, before.Version)
			}
			if health.Error != "invalid_grant" {
				t.Errorf("the connection's error is %q", health.Error)
			}
			if n := s.provider.Requests(t, "refresh_token"); n != 2 {
				t.Errorf("%d refreshes, want 2: one whose answer was lost, and one more", n)
			}
			if n := s.audited(t, "oauth.refresh", "denied", "acme"); n != 1 {
				t.Errorf("%d events of the refusal, want 1", n)
			}

			// Connecting again makes another secret, which gets the binding.
			again := connect(t, s, first, "ada")
			if again == id {
				t.Fatal("connecting again kept the secret")
			}
			if _, err := s.tenant.Secret(bounded(t), id); !errors.Is(err, api.ErrNotFound) {
				t.Errorf("the old secret: %v", err)
			}
			id = again
			value, _, ok := s.revealed(t, "ACME_TOKEN")
			if !ok {
				t.Fatal("the sandbox doesn't have it")
			}
			s.worksFor(t, "ACME_TOKEN", value, "ada")
			if _, health := s.secret(t, id); health.Status != api.OAuthConnected || health.Error != "" {
				t.Errorf("the connection is %q: %s", health.Status, health.Error)
			}
		})
	}
}

// A provider is unavailable when a token is due and recovers later, without user interaction.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	first := browser.Start(t)
	s := newFixture(t, authserver.Start(t, authserver.Config{TokenLife: 4 * time.Second}))
	id := connect(t, s, first, "ada")
	s.provider.Stop(t)
	before, _ := s.secret(t, id) // already refreshed, on a slow machine
	poll.Until(t, 30*time.Second, "the vault tries again", func() bool {
		_, health := s.secret(t, id)
		return health.Status == api.OAuthRetrying
	})
	if secret, health := s.secret(t, id); secret.Version != before.Version || health.Error != "unreachable" {
		t.Errorf("version %d, error %q", secret.Version, health.Error)
	}
	s.provider.Restart(t)
	poll.Until(t, 30*time.Second, "the token is renewed", func() bool {
		_, version, ok := s.revealed(t, "ACME_TOKEN")
		return ok && version > before.Version
	})
	value, _, _ := s.revealed(t, "ACME_TOKEN")
	s.worksFor(t, "ACME_TOKEN", value, "ada")
	if _, health := s.secret(t, id); health.Status != api.OAuthConnected || health.Error != "" {
		t.Errorf("the connection is %q: %s", health.Status, health.Error)
	}
}
