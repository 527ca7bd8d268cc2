package secrets_test

import (
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
