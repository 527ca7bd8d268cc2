package store

import (
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// Rows of another secret or tenant are also detected outside of reveals: in listed previews, in refresh tokens
// kept by a rotation, and in bindings that were moved to another tenant's secret or to another tenant.
func TestFault_V12_SwappedRowsOffTheRevealPath(t *testing.T) {
	type scene struct {
		s                        *Store
		owner, other             Actor
		victim, donor, elsewhere api.Secret // elsewhere belongs to the tenant other
		reader, foreignReader    Actor      // both of box1, each in its own tenant
	}
	reveal := func(reader func(scene) Actor) func(*testing.T, scene) error {
		return func(t *testing.T, c scene) error {
			set, err := c.s.opened(t.Context(), reader(c), box1)
			if set != nil {
				t.Errorf("a set of %d", len(set))
			}
			return err
		}
	}
	for _, tt := range []struct {
		name, sql string // $1: victim, $2: donor, $3: elsewhere
		read      func(*testing.T, scene) error
	}{
		{"another's preview, one secret", `UPDATE secrets SET preview = (SELECT preview FROM secrets WHERE id = $2) WHERE id = $1 AND id <> $3`,
			func(t *testing.T, c scene) error {
				got, err := c.s.Secret(t.Context(), c.owner, c.victim.ID)
				if got.Preview != "" {
					t.Errorf("preview %q", got.Preview)
				}
				return err
			}},
		{"another tenant's preview, in a list", `UPDATE secrets SET preview = (SELECT preview FROM secrets WHERE id = $3) WHERE id = $1 AND id <> $2`,
			func(t *testing.T, c scene) error {
				_, _, err := c.s.Secrets(t.Context(), c.owner, SecretFilter{})
				return err
			}},
		{"a value as preview", `UPDATE secrets SET preview = value WHERE id = $1 AND id NOT IN ($2, $3)`,
			func(t *testing.T, c scene) error {
				_, err := c.s.Secret(t.Context(), c.owner, c.victim.ID)
				return err
			}},
		{"another's refresh token, kept by a rotation", `UPDATE secrets SET refresh_token = (SELECT refresh_token FROM secrets WHERE id = $2) WHERE id = $1 AND id <> $3`,
			func(t *testing.T, c scene) error {
				_, err := c.s.RotateSecret(t.Context(), c.owner, c.victim.ID, Rotation{Value: text("new")})
				return err
			}},
		{"a value as refresh token", `UPDATE secrets SET refresh_token = value WHERE id = $1 AND id NOT IN ($2, $3)`,
			func(t *testing.T, c scene) error {
				_, err := c.s.RotateSecret(t.Context(), c.owner, c.victim.ID, Rotation{Value: text("new")})
				return err
			}},
		{"a binding led to another tenant's secret", `UPDATE bindings SET secret_id = $3 WHERE secret_id = $1 AND secret_id <> $2`,
			reveal(func(c scene) Actor { return c.reader })},
		{"a binding given to another tenant", `UPDATE bindings SET tenant_id = (SELECT tenant_id FROM secrets WHERE id = $3) WHERE secret_id = $1 AND secret_id <> $2`,
			reveal(func(c scene) Actor { return c.foreignReader })},
		{"a binding and its secret given to another tenant", `UPDATE secrets SET tenant_id = (SELECT tenant_id FROM secrets WHERE id = $3) WHERE id = $1 AND id <> $2`,
			func(t *testing.T, c scene) error {
				tamper(t, c.s, `UPDATE bindings SET tenant_id = $1 WHERE secret_id = $2`, c.other.TenantID, c.victim.ID)
				return reveal(func(c scene) Actor { return c.foreignReader })(t, c)
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := storeAt(t, dir)
			c := scene{s: s, owner: tenant(t, s, "acme"), other: tenant(t, s, "other")}
			long := " CANARY, long enough to have a preview of its own"
			c.victim = put(t, s, c.owner, api.NewSecret{Name: "victim", Value: text("victim" + long), RefreshToken: text("CANARY refresh 1")})
			c.donor = put(t, s, c.owner, api.NewSecret{Name: "donor", Value: text("donor " + long), RefreshToken: text("CANARY refresh 2")})
			c.elsewhere = put(t, s, c.other, api.NewSecret{Name: "elsewhere", Value: text("elsewhere" + long)})
			bind(t, s, c.owner, api.NewBinding{SecretID: c.victim.ID, Resource: box1, ExposeAsEnv: "VICTIM"})
			c.reader, c.foreignReader = agent(t, s, c.owner, box1), agent(t, s, c.other, box1)
			tamper(t, s, tt.sql, c.victim.ID, c.donor.ID, c.elsewhere.ID)
			c.s = storeAt(t, dir) // with empty caches
			err := tt.read(t, c)
			wantKind(t, err, api.ErrInternal)
			refused := strings.Contains(err.Error(), "doesn't open") || strings.Contains(err.Error(), "changed outside of the vault")
			if message := err.Error(); !refused || strings.Contains(message, "CANARY") {
				t.Errorf("error %q", message)
			}
			for _, a := range []Actor{c.owner, c.other} {
				if n := len(audited(t, c.s, a, actReveal)) + len(audited(t, c.s, a, actSecretRotate)); n != 0 {
					t.Errorf("%d audited", n)
				}
			}
		})
	}
}
