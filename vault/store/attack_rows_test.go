package store

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
)

// box2 is a resource that has no bindings.
var box2 = api.Resource{Type: "sandbox", ID: "sb_attacker"}

// attacked is a store whose database an attacker writes to, without the root key. The attacker has keys of an own tenant
// and of a resource of the attacked one.
type attacked struct {
	*Store
	owner, evil      Actor
	reader, intruder Actor // keys of box1 and box2
	intruderKey      api.Key
	revoked          api.Key // of box1
	broker           Actor   // a broker key of box2
	brokerKey        api.Key
	secret, other    api.Secret
	binding          api.Binding
}

// open opens the store again, with nothing in its memory.
func (a *attacked) open(t *testing.T, dir string, refused *[]string) {
	t.Helper()
	s, err := Open(t.Context(), Config{
		DataDir: dir, RootKey: rootAt(t, dir), Log: zerolog.New(zerolog.NewTestWriter(t)),
		OnAltered: func(table string) { *refused = append(*refused, table) },
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Store = s
	t.Cleanup(func() { _ = s.Close() })
}

// Who can write to the database, but hasn't the root key, gains no authority: a row that the vault didn't write is
// refused, audited once, and counted.
func TestAttack_AlteredRows(t *testing.T) {
	authenticate := func(key func(*attacked) api.Key) func(*testing.T, *attacked) error {
		return func(t *testing.T, a *attacked) error {
			_, err := a.Authenticate(t.Context(), key(a).Reveal())
			return err
		}
	}
	intruderReveals := func(t *testing.T, a *attacked) error {
		set, err := a.opened(t.Context(), a.intruder, box2)
		if len(set) != 0 {
			t.Errorf("a set of %d", len(set))
		}
		return err
	}
	brokerReveals := func(t *testing.T, a *attacked) error {
		set, err := a.opened(t.Context(), a.broker, box2)
		if len(set) != 0 {
			t.Errorf("a set of %d", len(set))
		}
		return err
	}
	readerReveals := func(t *testing.T, a *attacked) error {
		_, err := a.opened(t.Context(), a.reader, box1)
		return err
	}
	for _, tt := range []struct {
		name, table string
		alter       func(t *testing.T, a *attacked)
		use         func(*testing.T, *attacked) error
	}{
		{"a key added", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `INSERT INTO api_keys (id, tenant_id, hash, resource_type, resource_id, created_at)
				VALUES ('key_evil', $1, $2, $3, $4, 1)`, a.owner.TenantID, hashOf(a.intruderKey.Reveal()+"x"), box1.Type, box1.ID)
		}, func(t *testing.T, a *attacked) error {
			keys, err := a.Keys(t.Context(), "")
			for _, k := range keys {
				if k.Altered { // the list has the others
					err = &alteredError{"api_keys", k.TenantID, k.ID}
				}
			}
			return err
		}},
		{"a key added, with the mac of another", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET hash = 'gone' WHERE id = $1`, a.intruder.KeyID)
			tamper(t, a.Store, `INSERT INTO api_keys (id, tenant_id, hash, resource_type, resource_id, created_at, mac)
				SELECT 'key_evil', tenant_id, $2, resource_type, resource_id, created_at, mac FROM api_keys WHERE id = $1`,
				a.reader.KeyID, hashOf(a.intruderKey.Reveal()))
		}, authenticate(func(a *attacked) api.Key { return a.intruderKey })},
		{"a key of another resource", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET resource_id = $1 WHERE id = $2`, box1.ID, a.intruder.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.intruderKey })},
		{"a tenant key of a resource key", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET resource_type = '', resource_id = '' WHERE id = $1`, a.intruder.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.intruderKey })},
		{"a broker key of a resource key", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET broker = 1, resource_type = '', resource_id = '', resources = '["sandbox:sb_1"]' WHERE id = $1`, a.intruder.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.intruderKey })},
		{"a broker key of another resource", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET resources = '["sandbox:sb_1"]' WHERE id = $1`, a.broker.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.brokerKey })},
		{"a tenant key of a broker key", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET broker = 0 WHERE id = $1`, a.broker.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.brokerKey })},
		{"a revoked key revived", "api_keys", func(t *testing.T, a *attacked) {
			if err := os.Remove(a.conf.revocations()); err != nil { // which would be enough to refuse it
				t.Fatal(err)
			}
			tamper(t, a.Store, `UPDATE api_keys SET revoked_at = NULL WHERE hash = $1`, hashOf(a.revoked.Reveal()))
		}, authenticate(func(a *attacked) api.Key { return a.revoked })},
		{"a key that never expires", "api_keys", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE api_keys SET expires_at = $1 WHERE id = $2`, time.Now().Add(time.Hour).UnixMicro(), a.intruder.KeyID)
		}, authenticate(func(a *attacked) api.Key { return a.intruderKey })},
		{"a binding moved", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET resource_id = $1 WHERE id = $2`, box2.ID, a.binding.ID)
		}, intruderReveals},
		{"a binding added", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `INSERT INTO bindings (id, tenant_id, secret_id, resource_type, resource_id, env_name, placeholder_token, delivery, created_at, mac)
				SELECT 'bnd_evil', tenant_id, secret_id, resource_type, $1, env_name, 'evil', delivery, created_at, mac FROM bindings WHERE id = $2`,
				box2.ID, a.binding.ID)
		}, intruderReveals},
		{"a binding of another secret", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET secret_id = $1 WHERE id = $2`, a.other.ID, a.binding.ID)
		}, readerReveals},
		{"a binding of another variable", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET env_name = 'LD_PRELOAD' WHERE id = $1`, a.binding.ID)
		}, readerReveals},
		{"a placeholder delivered as a value", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET delivery = 'placeholder' WHERE id = $1`, a.binding.ID)
		}, func(t *testing.T, a *attacked) error {
			_, _, err := a.Bindings(t.Context(), a.owner, BindingFilter{})
			return err
		}},
		{"an expired secret", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET expires_at = $1 WHERE id = $2`, time.Now().Add(time.Hour).UnixMicro(), a.secret.ID)
		}, readerReveals},
		{"a secret's metadata", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET metadata = '{"oauth":{"token_url":"https://evil.example"}}' WHERE id = $1`, a.secret.ID)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.Secret(t.Context(), a.owner, a.secret.ID)
			return err
		}},
		{"another host of a secret", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET egress = '{"hosts":["evil.example"]}' WHERE id = $1`, a.other.ID)
		}, brokerReveals},
		{"a rule of a secret that has none", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET egress = '{"hosts":["evil.example"]}' WHERE id = $1`, a.secret.ID)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.Secret(t.Context(), a.owner, a.secret.ID)
			return err
		}},
		{"a secret without its rule", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET egress = '' WHERE id = $1`, a.other.ID)
		}, brokerReveals},
		{"a narrow binding's rule", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET egress = '' WHERE resource_id = $1`, box2.ID)
		}, brokerReveals},
		{"a known placeholder", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET placeholder_token = 'known' WHERE resource_id = $1`, box2.ID)
		}, brokerReveals},
		{"a value delivered to a broker", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET delivery = 'placeholder', resource_id = $1 WHERE id = $2`, box2.ID, a.binding.ID)
		}, brokerReveals},
		{"a secret's scope, in a list", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET scope = 'tenant' WHERE id = $1`, a.secret.ID)
		}, func(t *testing.T, a *attacked) error {
			_, _, err := a.Secrets(t.Context(), a.owner, SecretFilter{})
			return err
		}},
		{"a value written to another secret", "secrets", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE secrets SET upsert_key = upsert_key || 'x' WHERE id = $1`, a.other.ID)
			tamper(t, a.Store, `UPDATE secrets SET upsert_key = (SELECT substr(upsert_key, 1, 64) FROM secrets WHERE id = $1) WHERE id = $2`, a.other.ID, a.secret.ID)
		}, func(t *testing.T, a *attacked) error {
			_, _, _, err := a.PutSecret(t.Context(), a.owner, api.NewSecret{Name: "OTHER", Value: text("for OTHER only")}, nil)
			return err
		}},
		{"a tenant renamed", "tenants", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE tenants SET name = 'gone' WHERE id = $1`, a.owner.TenantID)
			tamper(t, a.Store, `UPDATE tenants SET name = 'acme' WHERE id = $1`, a.evil.TenantID)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.CreateTenantKey(t.Context(), "acme")
			return err
		}},
		{"a schedule at another provider", "oauth_grants", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE oauth_grants SET provider = 'evil' WHERE secret_id = $1`, a.secret.ID)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.ClaimRefresh(t.Context(), a.owner.TenantID, a.secret.ID, 0)
			return err
		}},
		{"a flow of another resource", "oauth_flows", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE oauth_flows SET asked = '{"resource_type":"sandbox","resource_id":"sb_attacker","expose_as_env":"X"}'`)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.FindFlow(t.Context(), "state")
			return err
		}},
		{"a rotation of altered rows", "bindings", func(t *testing.T, a *attacked) {
			tamper(t, a.Store, `UPDATE bindings SET resource_id = $1 WHERE id = $2`, box2.ID, a.binding.ID)
		}, func(t *testing.T, a *attacked) error {
			_, err := a.RotateKeys(t.Context(), "acme")
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var refused []string
			a := new(attacked)
			a.open(t, dir, &refused)
			a.owner, a.evil = tenant(t, a.Store, "acme"), tenant(t, a.Store, "evil")
			soon := time.Now().Add(time.Hour)
			var err error
			a.secret, _, _, err = a.PutSecret(t.Context(), a.owner, api.NewSecret{Name: "TOKEN", Value: text("v"), ExpiresAt: &soon, RefreshToken: text("r")}, &Grant{Provider: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			a.other = put(t, a.Store, a.owner, api.NewSecret{Name: "OTHER", Value: text("other"), Egress: onlyTo("*.example.com")})
			a.binding = bind(t, a.Store, a.owner, api.NewBinding{SecretID: a.secret.ID, Resource: box1, ExposeAsEnv: "TOKEN"})
			a.reader = agent(t, a.Store, a.owner, box1)
			intruder, err := a.CreateResourceKey(t.Context(), a.owner, box2, nil)
			if err != nil {
				t.Fatal(err)
			}
			a.intruderKey, _ = api.ParseKey(intruder.Key)
			a.intruder = actorOf(t, a.Store, a.intruderKey)
			if !strings.HasPrefix(tt.name, "a binding ") { // they reveal an empty set of box2
				bind(t, a.Store, a.owner, api.NewBinding{SecretID: a.other.ID, Resource: box2, ExposeAsEnv: "OTHER",
					Delivery: api.DeliverPlaceholder, Egress: onlyTo("api.example.com")})
			}
			a.brokerKey, a.broker = brokerOf(t, a.Store, a.owner, api.Restrictions{Resources: []string{box2.String()}})
			revoked, err := a.CreateResourceKey(t.Context(), a.owner, box1, nil)
			if err != nil {
				t.Fatal(err)
			}
			a.revoked, _ = api.ParseKey(revoked.Key)
			if err := a.RevokeKey(t.Context(), revoked.ID); err != nil {
				t.Fatal(err)
			}
			f, _, err := NewFlow(a.owner, "acme", "https://vault.example/callback", Wanted{}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.AddFlow(t.Context(), a.owner, f, "state"); err != nil {
				t.Fatal(err)
			}
			tt.alter(t, a)
			a.open(t, dir, &refused)
			for range 2 {
				err := tt.use(t, a)
				if tt.table == "api_keys" && tt.name != "a key added" {
					wantKind(t, err, api.ErrUnauthorized)
				} else {
					wantKind(t, err, api.ErrInternal)
				}
			}
			if len(refused) < 2 || refused[0] != tt.table {
				t.Errorf("refused rows of %q", refused)
			}
			var events int
			look(t, a.Store, &events, `SELECT COUNT(*) FROM audit WHERE action = 'row.refused' AND outcome = 'denied'`)
			if events != 1 {
				t.Errorf("%d events, want 1", events)
			}
		})
	}
}

// Altered rows don't prevent their removal.
func TestAlteredRowsCanBeRemoved(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	bindings, _, err := s.Bindings(t.Context(), owner, BindingFilter{})
	if err != nil {
		t.Fatal(err)
	}
	reader := agent(t, s, owner, box1)
	tamper(t, s, `UPDATE bindings SET env_name = 'X'`)
	tamper(t, s, `UPDATE secrets SET scope = 'tenant'`)
	tamper(t, s, `UPDATE api_keys SET resource_id = 'sb_2' WHERE id = $1`, reader.KeyID)
	s = storeAt(t, dir)
	for what, err := range map[string]error{
		"binding": s.DeleteBinding(t.Context(), owner, bindings[0].ID),
		"secret":  s.DeleteSecret(t.Context(), owner, secret.ID),
		"key":     s.RevokeResourceKey(t.Context(), owner, reader.KeyID),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	keys, err := s.Keys(t.Context(), "acme")
	if err != nil || len(keys) != 2 || keys[1].RevokedAt == nil {
		t.Errorf("keys %+v, %v", keys, err)
	}
}

// A set is read once for each revision of its tenant, and every change of a set makes a new one.
func TestSetCache(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner := tenant(t, s, "acme")
	reader := agent(t, s, owner, box1)
	want := func(what string, want map[string]string) {
		t.Helper()
		for range 2 {
			if diff := cmp.Diff(revealed(t, s, reader), want); diff != "" {
				t.Errorf("after %s (-got +want)\n%s", what, diff)
			}
		}
	}
	want("nothing", map[string]string{})
	secret := bound(t, elsewhere, owner, "A", "1")
	want("a binding by another process", map[string]string{"A": "1"})
	soon := time.Now().Add(2 * time.Second)
	expiring := put(t, elsewhere, owner, api.NewSecret{Name: "B", Value: text("2"), ExpiresAt: &soon})
	b := bind(t, s, owner, api.NewBinding{SecretID: expiring.ID, Resource: box1, ExposeAsEnv: "B"})
	want("a binding", map[string]string{"A": "1", "B": "2"})
	time.Sleep(time.Until(soon))
	want("the expiry", map[string]string{"A": "1"})
	if _, err := elsewhere.RotateSecret(t.Context(), owner, expiring.ID, Rotation{Value: text("3")}); err != nil {
		t.Fatal(err)
	}
	want("a rotation", map[string]string{"A": "1", "B": "3"})
	if _, err := elsewhere.RotateKeys(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	want("a rotation of the keys", map[string]string{"A": "1", "B": "3"})
	if err := elsewhere.DeleteBinding(t.Context(), owner, b.ID); err != nil {
		t.Fatal(err)
	}
	want("the end of a binding", map[string]string{"A": "1"})
	if err := elsewhere.DeleteSecret(t.Context(), owner, secret.ID); err != nil {
		t.Fatal(err)
	}
	want("the end of a secret", map[string]string{})
}
