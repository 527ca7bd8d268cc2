package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

const bindingsEach = 10 // of a secret, and of a resource

// sized is a store with one tenant.
type sized struct {
	*Store
	owner   Actor
	secrets []string // ids
	took    map[string][]time.Duration
}

func resource(i int) api.Resource {
	return api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%08d", i)}
}

// newSized fills a store with secrets, each of which is bound to several resources.
func newSized(b *testing.B, secrets int) *sized {
	b.Helper()
	s := &sized{Store: newStore(b), secrets: make([]string, secrets), took: map[string][]time.Duration{}}
	tenant(b, s.Store, "acme")
	var err error
	if s.owner, err = s.LocalActor(b.Context(), "acme"); err != nil { // without limits
		b.Fatal(err)
	}
	const batch = 1000 // of secrets, in a transaction
	for done := 0; done < secrets; done += batch {
		err := s.write(b.Context(), s.owner, anyKey, func(t *txn) error {
			for i := done; i < min(done+batch, secrets); i++ {
				if err := s.add(t, i); err != nil {
					return err
				}
			}
			clear(t.wakes)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// add stores secret i and its bindings, without events.
func (s *sized) add(t *txn, i int) error {
	r := row(api.NewSecret{Name: fmt.Sprintf("secret %d", i), Type: "api_key", Scope: "tenant"})
	r.ID, r.tenant, r.Version, r.CreatedAt, r.UpdatedAt = newID("sec_"), t.actor.TenantID, 1, t.now, t.now
	upsert := r.upsertKey()
	if err := t.seal(&r, text(fmt.Sprintf("a-value-of-forty-characters-as-keys-%05d", i)), api.Value{}); err != nil {
		return err
	}
	if err := t.insert("secrets", append(append(r.stored(), r.sealed()...), column{"upsert_key", &upsert})); err != nil {
		return err
	}
	s.secrets[i] = r.ID
	for j := range bindingsEach {
		b := bindingRow{tenant: r.tenant, Binding: api.Binding{
			ID: newID("bnd_"), SecretID: r.ID, Resource: resource((i + j*len(s.secrets)/bindingsEach) % len(s.secrets)), ExposeAsEnv: fmt.Sprintf("V_%d", j),
			PlaceholderToken: newID("miosa-tok-"), Delivery: api.DeliverValue, CreatedAt: t.now,
		}}
		if err := cmp.Or(t.authenticate(&b), t.insert("bindings", b.stored())); err != nil {
			return err
		}
	}
	return t.use(usage{secrets: 1, bindings: bindingsEach, bytes: int64(len(r.value))})
}

// measure measures one operation of each kind, on random objects.
func (s *sized) measure(b *testing.B) {
	b.Helper()
	i := rand.IntN(len(s.secrets))
	reader := agent(b, s.Store, s.owner, resource(i))
	for name, do := range map[string]func() error{
		"reveal": func() error {
			set, err := s.opened(b.Context(), reader, resource(i))
			if err == nil && len(set) < bindingsEach {
				err = fmt.Errorf("%d bindings", len(set))
			}
			return err
		},
		"rotate": func() error {
			_, err := s.RotateSecret(b.Context(), s.owner, s.secrets[i], Rotation{Value: text("a new value")})
			return err
		},
		"list bindings of a resource": func() error {
			_, _, err := s.Bindings(b.Context(), s.owner, BindingFilter{ResourceType: api.Sandbox, ResourceID: resource(i).ID})
			return err
		},
		"list bindings of a secret": func() error {
			_, _, err := s.Bindings(b.Context(), s.owner, BindingFilter{SecretID: s.secrets[i]})
			return err
		},
		"list 100 secrets": func() error {
			_, _, err := s.Secrets(b.Context(), s.owner, SecretFilter{Page: Page{Limit: 100}})
			return err
		},
		"list 100 bindings": func() error {
			_, _, err := s.Bindings(b.Context(), s.owner, BindingFilter{Page: Page{Limit: 100}})
			return err
		},
		"put and bind": func() error {
			_, _, _, err := s.PutSecret(b.Context(), s.owner, api.NewSecret{Name: newID("n"), Value: text("v"), Scope: "tenant", Resource: resource(i), ExposeAsEnv: newID("N_")}, nil)
			return err
		},
	} {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(name, err)
		}
		s.took[name] = append(s.took[name], time.Since(began))
	}
}

// Statements about one secret or one resource don't read all bindings of the tenant.
func TestPlans(t *testing.T) {
	s := newStore(t)
	onPostgres := s.conf.Database != ""
	var ofSecret query.Conditions
	ofSecret.Match("b.secret_id", "sec_1")
	ofSecret.Add("b.tenant_id =", "ten_1")
	const byTenantAndResource = "bindings_3 (tenant_id=? AND resource_type=? AND resource_id=?)"
	for _, tt := range []struct {
		name, query string
		args        []any
		want        string
	}{
		{"list of a secret's bindings", selectBindings + ofSecret.String() + ` ORDER BY b.resource_type, b.resource_id, b.env_name LIMIT 10`,
			ofSecret.Args, "bindings_of_secret (secret_id=? AND tenant_id=?)"},
		{"size of a set", largestSet(`SELECT CAST($1 AS TEXT), CAST($2 AS TEXT)`, "3", 1), []any{"sandbox", "sb_1", "ten_1"}, byTenantAndResource},
		{"sizes of the sets of a secret", largestSet(`SELECT resource_type, resource_id FROM bindings WHERE secret_id = $1`, "2", 1), []any{"sec_1", "ten_1"}, byTenantAndResource},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type line struct {
				id, parent, unused int64
				detail             string
			}
			explain, fields := `EXPLAIN QUERY PLAN `, func(l *line) []any { return []any{&l.id, &l.parent, &l.unused, &l.detail} }
			if onPostgres { // its plans depend on the number of rows
				explain, fields = `EXPLAIN `, func(l *line) []any { return []any{&l.detail} }
			}
			plan, err := read(t.Context(), s, operator, anyKey, func(txn *txn) ([]line, error) { return collect(txn, fields, explain+tt.query, tt.args...) })
			if err != nil {
				t.Fatal(err)
			}
			if !onPostgres && !slices.ContainsFunc(plan, func(l line) bool { return strings.HasSuffix(l.detail, tt.want) }) {
				t.Errorf("want %s, got %+v", tt.want, plan)
			}
		})
	}
}

// BenchmarkSize compares operations on a store with many secrets with those on one with 1,000, in turns. MIOSA_SECRETS is the number of
// secrets, each of which has ten bindings. The figures are in docs/benchmarks.md. -benchtime 500x is enough.
func BenchmarkSize(b *testing.B) {
	many := needs.Number(b, "MIOSA_SECRETS", 20_000)
	small := newSized(b, 1000)
	began := time.Now()
	large := newSized(b, many)
	b.Logf("%d secrets and %d bindings stored in %s", many, many*bindingsEach, time.Since(began).Round(time.Second))
	for b.Loop() {
		small.measure(b)
		large.measure(b)
	}
	quantile := func(took []time.Duration, q float64) time.Duration {
		sorted := slices.Sorted(slices.Values(took))
		return sorted[int(q*float64(len(sorted)-1)+0.5)]
	}
	for name, took := range large.took {
		for _, q := range []float64{0.5, 0.99} {
			of, to := quantile(took, q), quantile(small.took[name], q)
			b.Logf("%-28s p%-3.0f %9s with 1,000, %9s with %d: %.2f times", name, 100*q, to.Round(time.Microsecond), of.Round(time.Microsecond), many, float64(of)/float64(to))
		}
	}
}
