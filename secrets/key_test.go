package secrets_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/google/go-cmp/cmp"
)

func TestKeys(t *testing.T) {
	_, c := start(t)
	ctx := t.Context()
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var made []secrets.ResourceKey
	for _, r := range []secrets.Resource{sandbox, secrets.Computer("c_1")} {
		key, err := c.CreateKey(ctx, r, &expires)
		if err != nil || key.Resource != r || key.ExpiresAt == nil || !key.ExpiresAt.Equal(expires) {
			t.Fatalf("mint: error %v", err)
		}
		if _, err := api.ParseKey(key.Key); err != nil {
			t.Error("the new key is not a valid key")
		}
		key.Key = "" // lists omit it
		made = append(made, key)
	}
	for _, tt := range []struct {
		name string
		of   secrets.Resource
		want []secrets.ResourceKey
	}{
		{"all", secrets.Resource{}, made},
		{"a sandbox's", sandbox, made[:1]},
		{"a computer's", secrets.Computer("c_1"), made[1:]},
		{"none", secrets.Sandbox("sb_2"), []secrets.ResourceKey{}},
	} {
		got, err := c.ListKeys(ctx, tt.of)
		if diff := cmp.Diff(got, tt.want); err != nil || diff != "" {
			t.Errorf("%s: error %v, keys (-got +want):\n%s", tt.name, err, diff)
		}
	}
	if err := c.RevokeKey(ctx, made[0].ID); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ListKeys(ctx, sandbox); err != nil || len(got) != 1 || got[0].RevokedAt == nil {
		t.Errorf("after it is revoked: error %v, %d keys", err, len(got))
	}
}

func TestKeyTree(t *testing.T) {
	_, c := start(t)
	ctx := t.Context()
	want := secrets.Restrictions{Permissions: []string{"keys:write", "secrets:read"}, Scopes: []string{"user"}, Resources: []string{"sandbox:sb_1"}}
	parent, err := c.IssueKey(ctx, secrets.KeyRequest{Label: "ci", Restrictions: want})
	if err != nil || parent.Label != "ci" || !cmp.Equal(parent.Restrictions, want) {
		t.Fatalf("issued %+v, %v", parent.Restrictions, err)
	}
	child, err := c.IssueKey(ctx, secrets.KeyRequest{Resource: sandbox, Label: "machine"})
	if err != nil || child.Resource != sandbox || child.ParentID == "" {
		t.Fatalf("error %v", err)
	}
	if _, err := c.RevokeKeyTree(ctx, child.ParentID, ""); !errors.Is(err, api.ErrConflict) {
		t.Errorf("a key with children was revoked: %v", err)
	}
	successor, err := c.ReplaceKey(ctx, parent.ID, time.Hour, nil)
	if err != nil || successor.ID == parent.ID || successor.Label != "ci" || successor.Key == "" {
		t.Errorf("successor: %v", err)
	}
	all, err := c.Keys(ctx, secrets.Resource{})
	if err != nil || len(all) != 4 || all[1].ExpiresAt == nil { // with the client's own
		t.Errorf("%d keys, %v", len(all), err)
	}
	revoked, err := c.RevokeKeyTree(ctx, successor.ID, "revoke")
	if err != nil || len(revoked.Revoked) != 1 || len(revoked.Kept) != 0 {
		t.Errorf("revoked %+v, %v", revoked, err)
	}
	revoked, err = c.RevokeKeysBefore(ctx, time.Now().Add(time.Hour))
	if err != nil || len(revoked.Revoked) != 2 {
		t.Errorf("revoked %+v, %v", revoked, err)
	}
}

// A vault that doesn't know broker keys makes a tenant key, which is revoked.
func TestNoBrokerKeys(t *testing.T) {
	var revoked string
	c, _ := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			revoked = r.URL.Path
			answerJSON(w, 200, api.RevokedKeys{OK: true})
			return
		}
		answerJSON(w, 201, map[string]any{"data": api.IssuedKey{ID: "key_1", Key: api.NewKey(api.TenantKeyPrefix).Reveal()}})
	})
	made, err := c.IssueKey(t.Context(), secrets.KeyRequest{Broker: true, Restrictions: secrets.Restrictions{Resources: []string{"sandbox:sb_1"}}})
	if err == nil || !strings.Contains(err.Error(), "has no broker keys") || made.Key != "" || !strings.HasSuffix(revoked, "/egress/keys/key_1") {
		t.Errorf("error %v, revoked %q", err, revoked)
	}
}
