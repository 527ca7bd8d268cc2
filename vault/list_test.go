package vault_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/store"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// listOf is the answer with any list.
type listOf struct {
	Secrets      []api.Secret    `json:"secrets"`
	Bindings     []api.Binding   `json:"bindings"`
	ResourceKeys []api.IssuedKey `json:"resource_keys"`
	Keys         []api.IssuedKey `json:"keys"`
	NextCursor   string          `json:"next_cursor"`
}

// ids returns the ids of the items, in order.
func (l listOf) ids() (ids []string) {
	for _, s := range l.Secrets {
		ids = append(ids, s.ID)
	}
	for _, b := range l.Bindings {
		ids = append(ids, b.ID)
	}
	for _, k := range append(l.ResourceKeys, l.Keys...) {
		ids = append(ids, k.ID)
	}
	return ids
}

// fill stores secrets with a binding each and resource keys as the operator.
func fill(t *testing.T, s *vaulttest.Server, n, metadata int) {
	t.Helper()
	operator, err := s.Vault().Store().LocalActor(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	about := []byte(fmt.Sprintf(`{"about":%q}`, strings.Repeat("m", metadata)))
	for i := range n {
		r := api.Resource{Type: api.Sandbox, ID: fmt.Sprint("sb_", i%7)}
		secret := api.NewSecret{Name: fmt.Sprint("s", i), Value: api.NewValue([]byte("v")), Metadata: about, Resource: r, ExposeAsEnv: fmt.Sprint("S", i)}
		if _, _, _, err := s.Vault().Store().PutSecret(t.Context(), operator, secret, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Vault().Store().CreateResourceKey(t.Context(), operator, r, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A list is complete without a limit, however many pages the vault reads it in, and with one, its pages are those that the limit
// asks for.
func TestLongLists(t *testing.T) {
	needs.Long(t, "it stores a thousand secrets, bindings and keys")
	s := vaulttest.Start(t)
	const n = 1203
	fill(t, s, n, 0)
	for _, path := range []string{"/egress/secrets", "/egress/bindings", "/egress/resource-keys", "/egress/keys"} {
		t.Run(path, func(t *testing.T) {
			want := n
			if path == "/egress/keys" {
				want++ // the tenant's own
			}
			a := ask(t, s, s.TenantKey, "GET", path, "")
			all := decode[listOf](t, a)
			if ids := all.ids(); len(ids) != want || all.NextCursor != "" || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %d items, next %q", a.status, len(ids), all.NextCursor)
			}
			seen := map[string]bool{}
			for _, id := range all.ids() {
				seen[id] = true
			}
			if len(seen) != want {
				t.Errorf("%d different items", len(seen))
			}
			for _, limit := range []int{100, 500, 601, 1000} {
				var ids []string
				for cursor := ""; ; {
					page := decode[listOf](t, ask(t, s, s.TenantKey, "GET", fmt.Sprintf("%s?limit=%d&cursor=%s", path, limit, url.QueryEscape(cursor)), ""))
					ids = append(ids, page.ids()...)
					if cursor = page.NextCursor; cursor == "" {
						break
					}
					if len(page.ids()) != limit {
						t.Fatalf("a page of %d has %d items", limit, len(page.ids()))
					}
				}
				if strings.Join(ids, " ") != strings.Join(all.ids(), " ") {
					t.Errorf("pages of %d: %d items, not the same as in one list", limit, len(ids))
				}
			}
			page := decode[listOf](t, ask(t, s, s.TenantKey, "GET", path+"?limit=5", ""))
			page = decode[listOf](t, ask(t, s, s.TenantKey, "GET", path+"?cursor="+url.QueryEscape(page.NextCursor), ""))
			if len(page.ids()) != 100 {
				t.Errorf("a cursor alone gives %d items", len(page.ids()))
			}
			wantRefusal(t, ask(t, s, s.TenantKey, "GET", path+"?cursor=no", ""), api.ErrInvalid, "cursor")
			wantRefusal(t, ask(t, s, s.TenantKey, "GET", path+"?limit=1001", ""), api.ErrInvalid, "limit")
		})
	}
}

// Pages are short also if each item is long.
func TestPagesAreBoundedInBytes(t *testing.T) {
	s := vaulttest.Start(t)
	fill(t, s, 40, 60<<10)
	operator, err := s.Vault().Store().LocalActor(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	page, next, err := s.Vault().Store().Secrets(t.Context(), operator, store.SecretFilter{Page: store.Page{Limit: 1000}})
	if err != nil || len(page) > 5 || next == "" {
		t.Errorf("%d secrets of 60 KiB in one page, %v", len(page), err)
	}
	if all := decode[listOf](t, ask(t, s, s.TenantKey, "GET", "/egress/secrets?limit=30", "")); len(all.Secrets) != 30 || all.NextCursor == "" {
		t.Errorf("%d secrets, next %q", len(all.Secrets), all.NextCursor)
	}
}

// A client that stops reading holds no transaction. If its key is revoked meanwhile, the response breaks: it must not
// look complete.
func TestAListThatBreaks(t *testing.T) {
	s := vaulttest.Start(t)
	fill(t, s, 300, 60<<10) // 18 MB, more than the buffers of a connection
	key := s.Tenant(t, "test")
	r := dial(t, s)
	r.send(t, "GET /api/v1/egress/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key.Reveal()+"\r\n\r\n")
	res := r.wantStatus(t, http.StatusOK)
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadFull(res.Body, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	keys := decode[listOf](t, ask(t, s, s.TenantKey, "GET", "/egress/keys", ""))
	id := ""
	for _, k := range keys.Keys {
		if k.Resource.ID == "" {
			id = k.ID // the newest tenant key
		}
	}
	if err := s.Vault().Store().RevokeKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, patience, "the database's log can be emptied", func() bool {
		s.Vault().Store().DB().Scrub(t.Context())
		return true
	})
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("the list looks complete")
	}
}
