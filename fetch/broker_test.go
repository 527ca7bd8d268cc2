package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/swap"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// With a broker key, a source follows the values that a sandbox has placeholders of: a rotation, a rule and the end of the key. A request
// with the placeholder gets the value where the rule allows it.
func TestBrokerKey(t *testing.T) {
	v := vaulttest.Start(t)
	owner := client(t, v.BaseURL, func(c *fetch.Config) { c.Key = v.TenantKey })
	sandbox := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	secret, bound, err := owner.PutSecret(t.Context(), api.NewSecret{Name: "openai", Value: api.NewValue([]byte("sk-first")), Resource: sandbox, ExposeAsEnv: "KEY",
		Delivery: api.DeliverPlaceholder})
	if err != nil {
		t.Fatal(err)
	}
	made, err := owner.IssueKey(t.Context(), api.KeyRequest{Broker: true, Restrictions: api.Restrictions{Resources: []string{sandbox.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(made.Key)
	if err != nil {
		t.Fatal(err)
	}
	source := client(t, v.BaseURL, func(c *fetch.Config) { c.Key = key }).Source(sandbox)
	etag := ""
	next := func() api.Snapshot {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for {
			set, err := source.Next(ctx, etag)
			if errors.Is(err, api.ErrNotModified) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			etag = set.Etag
			return set
		}
	}
	sent := func(set api.Snapshot, host string) string {
		t.Helper()
		table, err := swap.New(set)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/v1/chat", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bound.PlaceholderToken)
		if _, err := table.Request(r, host, 443); err != nil {
			return "refused"
		}
		return r.Header.Get("Authorization")
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: sent %q, want %q", what, got, want)
		}
	}
	want("without a rule", sent(next(), "api.openai.com"), "refused")
	if _, err := owner.SetEgress(t.Context(), secret.ID, api.EgressRule{Hosts: []string{"api.openai.com"}}); err != nil {
		t.Fatal(err)
	}
	set := next()
	want("with a rule", sent(set, "api.openai.com"), "Bearer sk-first")
	want("to another host", sent(set, "evil.example"), "refused")
	v.Rotate(t, secret.ID, "sk-second")
	want("after a rotation", sent(next(), "api.openai.com"), "Bearer sk-second")
	if _, err := owner.SetBindingEgress(t.Context(), bound.ID, api.EgressRule{Hosts: []string{"beta.openai.com"}}); err != nil {
		t.Fatal(err)
	}
	want("with another rule of the binding", sent(next(), "api.openai.com"), "refused")
	if _, err := owner.RevokeKey(t.Context(), made.ID, ""); err != nil {
		t.Fatal(err)
	}
	for err == nil || errors.Is(err, api.ErrNotModified) {
		_, err = source.Next(t.Context(), etag)
	}
	if !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("after the end of the key: %v", err)
	}
}
