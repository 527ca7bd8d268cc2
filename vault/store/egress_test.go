package store

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// onlyTo is a rule with hosts.
func onlyTo(hosts ...string) *api.EgressRule { return &api.EgressRule{Hosts: hosts} }

// brokerOf creates a broker key, and returns it with its actor.
func brokerOf(t testing.TB, s *Store, owner Actor, r api.Restrictions) (api.Key, Actor) {
	t.Helper()
	k, err := s.IssueKey(t.Context(), owner, api.KeyRequest{Broker: true, Restrictions: r})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(k.Key)
	if err != nil || !key.ForBroker() || !k.Broker {
		t.Fatalf("key %+v, %v", k.ID, err)
	}
	return key, actorOf(t, s, key)
}

// stood is a store in which box1 has a placeholder and a value, and box2 a placeholder.
type stood struct {
	*Store
	dir           string
	owner         Actor
	reader        Actor // a resource key of box1
	broker        Actor // a broker key of box1
	secret        api.Secret
	binding, away api.Binding // of the secret, in box1 and box2
}

func standIn(t *testing.T, n api.NewSecret, narrow *api.EgressRule) stood {
	t.Helper()
	w := stood{dir: t.TempDir()}
	w.Store = storeAt(t, w.dir)
	w.owner = tenant(t, w.Store, "acme")
	n.Name, n.Value = "GH", text("ghp_value")
	w.secret = put(t, w.Store, w.owner, n)
	w.binding = bind(t, w.Store, w.owner, api.NewBinding{SecretID: w.secret.ID, Resource: box1, ExposeAsEnv: "GH", Delivery: api.DeliverPlaceholder, Egress: narrow})
	w.away = bind(t, w.Store, w.owner, api.NewBinding{SecretID: w.secret.ID, Resource: box2, ExposeAsEnv: "GH", Delivery: api.DeliverPlaceholder})
	bound(t, w.Store, w.owner, "PLAIN", "plain value")
	w.reader = agent(t, w.Store, w.owner, box1)
	_, w.broker = brokerOf(t, w.Store, w.owner, api.Restrictions{Resources: []string{box1.String()}})
	return w
}

// A broker gets the values that its resource has placeholders of, with placeholder and rules, and nothing else. The agent
// gets the placeholder.
func TestBrokerReveal(t *testing.T) {
	narrow := &api.EgressRule{Hosts: []string{"api.github.com"}, Methods: []string{"GET"}}
	w := standIn(t, api.NewSecret{Egress: &api.EgressRule{Hosts: []string{"api.github.com", "github.com"}, Ports: []int{8443}, Slots: []string{"query:key"}}}, narrow)
	inherited := &api.EgressRule{Hosts: narrow.Hosts, Methods: narrow.Methods, Ports: []int{8443}, Slots: []string{"query:key"}}
	for range 2 { // from the database, and from the cache
		set, err := w.opened(t.Context(), w.broker, box1)
		if err != nil || len(set) != 1 {
			t.Fatalf("a set of %d, %v", len(set), err)
		}
		if set[0].Value.Reveal() != "ghp_value" || set[0].Delivery != api.DeliverPlaceholder {
			t.Errorf("another value, delivered as %s", set[0].Delivery)
		}
		want := &api.Egress{Placeholder: w.binding.PlaceholderToken, Rules: []api.EgressRule{*w.secret.Egress, *inherited}}
		if diff := cmp.Diff(set[0].Egress, want); diff != "" {
			t.Errorf("egress (-got +want)\n%s", diff)
		}
		want1 := map[string]string{"GH": w.binding.PlaceholderToken, "PLAIN": "plain value"}
		if diff := cmp.Diff(revealed(t, w.Store, w.reader), want1); diff != "" {
			t.Errorf("the agent's set (-got +want)\n%s", diff)
		}
	}
	agents, err := w.state(t.Context(), w.reader, box1)
	if err != nil || slices.ContainsFunc(agents.labels, func(l api.Label) bool { return l.Egress != nil }) {
		t.Errorf("the agent's labels %+v, %v", agents.labels, err)
	}
	if brokers, err := w.state(t.Context(), w.broker, box1); err != nil || brokers.etag == agents.etag || len(brokers.labels) != 1 {
		t.Errorf("the broker's state %+v, %v", brokers, err)
	}
	_, err = w.opened(t.Context(), w.broker, box2)
	wantKind(t, err, api.ErrDenied)
	var actions []string
	events, _, err := w.Audit(t.Context(), w.owner, AuditFilter{KeyID: w.broker.KeyID})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		actions = append(actions, e.Action+" "+e.Outcome+" "+e.ResourceID)
	}
	if diff := cmp.Diff(actions, []string{"broker.reveal denied " + box2.ID, "broker.reveal ok sb_1"}); diff != "" {
		t.Errorf("events (-got +want)\n%s", diff)
	}
}

// Reveals of agents and brokers that arrive together share transactions, and still get their own sets.
func TestRevealsOfBothTogether(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("api.github.com")}, nil)
	const each = 20
	results := make(chan error, 2*each)
	for range each {
		for actor, want := range map[*Actor]string{&w.reader: w.binding.PlaceholderToken, &w.broker: "ghp_value"} {
			go func() {
				set, err := w.opened(t.Context(), *actor, box1)
				if err == nil && set[0].Value.Reveal() != want {
					err = errors.New("another's set")
				}
				results <- err
			}()
		}
	}
	for range 2 * each {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// A broker key is restricted by scopes, and expired secrets are left out.
func TestBrokerKeyOfScopes(t *testing.T) {
	w := standIn(t, api.NewSecret{}, nil)
	soon := in(time.Hour)
	team := put(t, w.Store, w.owner, api.NewSecret{Name: "team", Value: text("team value"), Scope: "workspace", ExpiresAt: soon, Egress: onlyTo("a.example")})
	bind(t, w.Store, w.owner, api.NewBinding{SecretID: team.ID, Resource: box1, ExposeAsEnv: "TEAM", Delivery: api.DeliverPlaceholder})
	_, limited := brokerOf(t, w.Store, w.owner, api.Restrictions{Resources: []string{box1.String(), box2.String()}, Scopes: []string{"workspace"}})
	if diff := cmp.Diff(revealed(t, w.Store, limited), map[string]string{"TEAM": "team value"}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(revealed(t, w.Store, w.broker), map[string]string{"TEAM": "team value", "GH": "ghp_value"}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if state, err := w.state(t.Context(), limited, box1); err != nil || !state.nextExpiry.Equal(*inMicros(soon)) {
		t.Errorf("%+v, %v", state, err)
	}
}

// Without a rule of the secret nothing may be sent, even if the binding has one; and the binding's can't widen the secret's.
func TestAttack_ABindingWidensARule(t *testing.T) {
	for _, tt := range []struct {
		name   string
		secret *api.EgressRule
		want   int // rules
	}{{"no rule", nil, 0}, {"another host", onlyTo("api.github.com"), 2}} {
		t.Run(tt.name, func(t *testing.T) {
			w := standIn(t, api.NewSecret{Egress: tt.secret}, onlyTo("evil.example"))
			set, err := w.opened(t.Context(), w.broker, box1)
			if err != nil || len(set) != 1 || len(set[0].Egress.Rules) != tt.want {
				t.Fatalf("a set of %d, %v", len(set), err)
			}
			if tt.want > 0 && set[0].Egress.Rules[0].Hosts[0] != "api.github.com" {
				t.Errorf("rules %+v", set[0].Egress.Rules) // a request must satisfy both
			}
		})
	}
}

// The key of another tenant's broker doesn't reveal, though it names the same resource.
func TestAttack_BrokerOfAnotherTenant(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("api.github.com")}, nil)
	evil := tenant(t, w.Store, "evil")
	_, broker := brokerOf(t, w.Store, evil, api.Restrictions{Resources: []string{box1.String()}})
	if got := revealed(t, w.Store, broker); len(got) != 0 {
		t.Errorf("%d values", len(got))
	}
	_, err := w.SetRule(t.Context(), evil, w.secret.ID, *onlyTo("evil.example"))
	wantKind(t, err, api.ErrNotFound)
	_, _, err = w.CreateBinding(t.Context(), evil, api.NewBinding{SecretID: w.secret.ID, Resource: box1, ExposeAsEnv: "X", Egress: onlyTo("evil.example")})
	wantKind(t, err, api.ErrNotFound)
}

// Rules change without a rotation, wake the brokers that wait, and are audited.
func TestSetRule(t *testing.T) {
	w := standIn(t, api.NewSecret{}, nil)
	elsewhere := storeAt(t, w.dir)
	first := etagOf(t, w.Store, w.broker)
	done := waiting(t, w.Store, w.broker, first, 20*time.Second)
	changed, err := elsewhere.SetRule(t.Context(), w.owner, w.secret.ID, *onlyTo("api.github.com"))
	if err != nil || changed.Version != 1 || changed.Egress == nil || changed.Egress.Hosts[0] != "api.github.com" {
		t.Fatalf("%+v, %v", changed, err)
	}
	if err := <-done; err != nil {
		t.Error("wait:", err)
	}
	if w.binding.PlaceholderToken != revealed(t, w.Store, w.reader)["GH"] {
		t.Error("the placeholder has changed, and its shape hasn't")
	}
	if _, err := w.SetRule(t.Context(), w.owner, w.secret.ID, *onlyTo("api.github.com")); err != nil { // the same
		t.Fatal(err)
	}
	if got, _, _, err := w.PutSecret(t.Context(), w.owner, api.NewSecret{Name: "GH", Value: text("second")}, nil); err != nil || got.Egress == nil {
		t.Errorf("replaced: %+v, %v", got.Egress, err)
	}
	if got, err := w.RotateSecret(t.Context(), w.owner, w.secret.ID, Rotation{Value: text("third"), Egress: onlyTo("b.example")}); err != nil || got.Egress.Hosts[0] != "b.example" {
		t.Errorf("rotated: %+v, %v", got.Egress, err)
	}
	if _, err := w.RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got, err := w.SetRule(t.Context(), w.owner, w.secret.ID, api.EgressRule{}); err != nil || got.Egress != nil {
		t.Errorf("removed: %+v, %v", got.Egress, err)
	}
	_, err = w.SetRule(t.Context(), w.owner, w.secret.ID, api.EgressRule{Ports: []int{1}})
	wantKind(t, err, api.ErrInvalid)
	events, _, err := w.Audit(t.Context(), w.owner, AuditFilter{Action: "secret.rule"})
	if err != nil {
		t.Fatal(err)
	}
	var details []string
	for _, e := range events {
		details = append(details, e.Detail)
	}
	if diff := cmp.Diff(details, []string{"none", `{"hosts":["b.example"]}`, `{"hosts":["api.github.com"]}`}); diff != "" {
		t.Errorf("events (-got +want)\n%s", diff)
	}
	wantUsage(t, w.Store, w.owner.TenantID)
	if err := w.DeleteSecret(t.Context(), w.owner, w.secret.ID); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, w.Store, w.owner.TenantID)
}

// The rule of a binding changes as that of a secret does, and the placeholder only with its shape.
func TestSetBindingRule(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("*.github.com")}, nil)
	elsewhere := storeAt(t, w.dir)
	done := waiting(t, w.Store, w.broker, etagOf(t, w.Store, w.broker), 20*time.Second)
	changed, err := elsewhere.SetBindingRule(t.Context(), w.owner, w.binding.ID, *onlyTo("api.github.com"))
	if err != nil || changed.Egress == nil || changed.Egress.Hosts[0] != "api.github.com" || changed.PlaceholderToken != w.binding.PlaceholderToken {
		t.Fatalf("%+v, %v", changed, err)
	}
	if err := <-done; err != nil {
		t.Error("wait:", err)
	}
	set, err := w.opened(t.Context(), w.broker, box1)
	if err != nil || len(set) != 1 || len(set[0].Egress.Rules) != 2 || set[0].Egress.Rules[1].Hosts[0] != "api.github.com" {
		t.Fatalf("set %+v, %v", set, err)
	}
	if _, err := w.SetBindingRule(t.Context(), w.owner, w.binding.ID, *onlyTo("api.github.com")); err != nil { // the same
		t.Fatal(err)
	}
	wantUsage(t, w.Store, w.owner.TenantID)
	shape := onlyTo("api.github.com")
	shape.Shape = &api.EgressShape{Prefix: "ghp_", Length: 40}
	shaped, err := w.SetBindingRule(t.Context(), w.owner, w.binding.ID, *shape)
	if err != nil || !strings.HasPrefix(shaped.PlaceholderToken, "ghp_") || revealed(t, w.Store, w.reader)["GH"] != shaped.PlaceholderToken {
		t.Errorf("shaped: %+v, %v", shaped, err)
	}
	if got, err := w.SetBindingRule(t.Context(), w.owner, w.binding.ID, api.EgressRule{}); err != nil || got.Egress != nil || strings.HasPrefix(got.PlaceholderToken, "ghp_") {
		t.Errorf("removed: %+v, %v", got, err)
	}
	wantUsage(t, w.Store, w.owner.TenantID)
	_, err = w.SetBindingRule(t.Context(), w.owner, w.binding.ID, api.EgressRule{Ports: []int{1}})
	wantKind(t, err, api.ErrInvalid)
	_, err = w.SetBindingRule(t.Context(), w.owner, "bnd_none", *onlyTo("api.github.com"))
	wantKind(t, err, api.ErrNotFound)
	_, err = w.SetBindingRule(t.Context(), tenant(t, w.Store, "evil"), w.binding.ID, *onlyTo("evil.example"))
	wantKind(t, err, api.ErrNotFound)
	_, err = w.SetBindingRule(t.Context(), w.reader, w.binding.ID, *onlyTo("evil.example"))
	wantKind(t, err, api.ErrDenied)
	var details []string
	for _, e := range audited(t, w.Store, w.owner, "binding.rule") {
		if e.Outcome == api.OutcomeOK {
			details = append(details, e.Detail)
		}
	}
	slices.Sort(details)
	want := []string{"none", `{"hosts":["api.github.com"],"shape":{"prefix":"ghp_","length":40}}`, `{"hosts":["api.github.com"]}`}
	slices.Sort(want)
	if diff := cmp.Diff(details, want); diff != "" {
		t.Errorf("events (-got +want)\n%s", diff)
	}
}

// A key that only stores secrets doesn't say where they are sent: that could be to its owner.
func TestAttack_RuleWithoutThePermissionToBind(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("api.github.com")}, nil)
	k, err := w.IssueKey(t.Context(), w.owner, api.KeyRequest{Restrictions: api.Restrictions{Permissions: []string{api.PermissionSecretsWrite}}})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := api.ParseKey(k.Key)
	writer := actorOf(t, w.Store, key)
	evil, without := onlyTo("evil.example"), put(t, w.Store, w.owner, api.NewSecret{Name: "PLAIN", Value: text("v")})
	attempts := 0
	for name, set := range map[string]func() error{
		"set": func() error { _, err := w.SetRule(t.Context(), writer, w.secret.ID, *evil); return err },
		"remove": func() error {
			_, err := w.SetRule(t.Context(), writer, w.secret.ID, api.EgressRule{})
			return err
		},
		"set the same": func() error {
			_, err := w.SetRule(t.Context(), writer, w.secret.ID, *onlyTo("api.github.com"))
			return err
		},
		"remove none": func() error {
			_, err := w.SetRule(t.Context(), writer, without.ID, api.EgressRule{})
			return err
		},
		"rotate": func() error {
			_, err := w.RotateSecret(t.Context(), writer, w.secret.ID, Rotation{Value: text("v"), Egress: evil})
			return err
		},
		"rotate with the same": func() error {
			_, err := w.RotateSecret(t.Context(), writer, w.secret.ID, Rotation{Value: text("v"), Egress: onlyTo("api.github.com")})
			return err
		},
		"replace with the same": func() error {
			_, _, _, err := w.PutSecret(t.Context(), writer, api.NewSecret{Name: "GH", Value: text("v"), Egress: onlyTo("api.github.com")}, nil)
			return err
		},
		"replace": func() error {
			_, _, _, err := w.PutSecret(t.Context(), writer, api.NewSecret{Name: "GH", Value: text("v"), Egress: evil}, nil)
			return err
		},
		"create": func() error {
			_, _, _, err := w.PutSecret(t.Context(), writer, api.NewSecret{Name: "NEW", Value: text("v"), Egress: evil}, nil)
			return err
		},
		"metadata": func() error {
			_, _, _, err := w.PutSecret(t.Context(), writer, api.NewSecret{Name: "NEW", Value: text("v"), Metadata: []byte(`{"egress":{"hosts":["evil.example"]}}`)}, nil)
			return err
		},
	} {
		wantKind(t, set(), api.ErrDenied)
		if got, err := w.Secret(t.Context(), w.owner, w.secret.ID); err != nil || got.Egress.Hosts[0] != "api.github.com" || got.Version != 1 {
			t.Errorf("%s: %+v, %v", name, got.Egress, err)
		}
		attempts++
	}
	denied := 0
	for _, e := range audited(t, w.Store, w.owner, "secret.rule") {
		if e.KeyID == writer.KeyID && e.Outcome == api.OutcomeDenied {
			denied += int(e.Count)
		}
	}
	if denied != attempts {
		t.Errorf("%d denied attempts are audited, want %d", denied, attempts)
	}
	if _, err := w.RotateSecret(t.Context(), writer, w.secret.ID, Rotation{Value: text("v")}); err != nil {
		t.Error("without a rule:", err)
	}
}

// A key that may not read secrets learns nothing of one by changing it: no preview, no metadata that it hasn't sent itself, and no
// rule unless it may set one.
func TestAttack_ChangeToRead(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	const value = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
	stored := api.NewSecret{Name: "GH", Value: text(value), Metadata: []byte(`{"note":"of the owner"}`), Egress: onlyTo("api.github.com")}
	actor := func(permissions ...string) Actor {
		k, err := s.IssueKey(t.Context(), owner, api.KeyRequest{Restrictions: api.Restrictions{Permissions: permissions}})
		if err != nil {
			t.Fatal(err)
		}
		key, _ := api.ParseKey(k.Key)
		return actorOf(t, s, key)
	}
	type seen struct {
		Preview, Masked, Metadata string
		Egress                    *api.EgressRule
	}
	const preview = "ghp_01...wxyz"
	for _, tt := range []struct {
		name   string
		actor  Actor
		change func(a Actor, id string) (api.Secret, error)
		want   seen
	}{
		{"rotate", actor("secrets:write"), func(a Actor, id string) (api.Secret, error) {
			return s.RotateSecret(t.Context(), a, id, Rotation{Value: text(value)})
		}, seen{"********", "********", `{}`, nil}},
		{"replace", actor("secrets:write"), func(a Actor, _ string) (api.Secret, error) {
			got, _, _, err := s.PutSecret(t.Context(), a, api.NewSecret{Name: "GH", Value: text(value), Metadata: []byte(`{"a":1}`)}, nil)
			return got, err
		}, seen{"********", "********", `{"a":1}`, nil}},
		{"set a rule", actor("secrets:write", "bindings:write"), func(a Actor, id string) (api.Secret, error) {
			return s.SetRule(t.Context(), a, id, *onlyTo("b.example"))
		}, seen{"********", "********", `{}`, onlyTo("b.example")}},
		{"rotate and read", actor("secrets:write", "secrets:read"), func(a Actor, id string) (api.Secret, error) {
			return s.RotateSecret(t.Context(), a, id, Rotation{Value: text(value)})
		}, seen{preview, preview, `{"note":"of the owner"}`, onlyTo("api.github.com")}},
	} {
		secret := put(t, s, owner, stored)
		got, err := tt.change(tt.actor, secret.ID)
		if err != nil || got.ID != secret.ID {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
		if diff := cmp.Diff(seen{got.Preview, got.MaskedValue, string(got.Metadata), got.Egress}, tt.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.name, diff)
		}
	}
}

// metadata.egress is the rule of a secret that is stored without one.
func TestRuleOfMetadata(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	store := func(metadata string, rule *api.EgressRule) (api.Secret, error) {
		secret, _, _, err := s.PutSecret(t.Context(), owner, api.NewSecret{Name: "A", Value: text("v"), Metadata: []byte(metadata), Egress: rule}, nil)
		return secret, err
	}
	for _, tt := range []struct {
		name, metadata string
		rule           *api.EgressRule
		want           string // host
	}{
		{"in metadata", `{"egress":{"hosts":["a.example"]}}`, nil, "a.example"},
		{"kept", `{}`, nil, "a.example"},
		{"in both", `{"egress":{"hosts":["a.example"]}}`, onlyTo("b.example"), "b.example"},
		{"null in metadata", `{"egress":null}`, nil, ""},
		{"outside", `{}`, onlyTo("c.example"), "c.example"},
		{"removed", `{}`, new(api.EgressRule), ""},
	} {
		got, err := store(tt.metadata, tt.rule)
		host := ""
		if got.Egress != nil {
			host = got.Egress.Hosts[0]
		}
		if err != nil || host != tt.want {
			t.Errorf("%s: %q, %v", tt.name, host, err)
		}
	}
	for metadata, want := range map[string]string{
		`{"egress":{"hosts":["A.example"]}}`:                 "metadata.egress.hosts may have",
		`{"egress":{"host":["a.example"]}}`:                  "metadata.egress has a field that rules don't have",
		`{"egress":"a.example"}`:                             "metadata.egress has the wrong type",
		`{"egress":{"hosts":["a.example"],"slots":["all"]}}`: "metadata.egress.slots may have",
	} {
		if _, err := store(metadata, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", metadata, err, want)
		}
	}
}

// Placeholders have the shape of the rule, the binding's own before the secret's, and a new one when that changes.
func TestPlaceholderShapes(t *testing.T) {
	shaped := func(s api.EgressShape) *api.EgressRule {
		return &api.EgressRule{Hosts: []string{"a.example"}, Shape: &s}
	}
	w := standIn(t, api.NewSecret{Egress: shaped(api.EgressShape{Prefix: "ghp_", Length: 40})}, shaped(api.EgressShape{Prefix: "own-", Alphabet: "0-9a-f"}))
	want := func(b api.Binding, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(b.PlaceholderToken) {
			t.Errorf("%s, want %s", b.PlaceholderToken, pattern)
		}
	}
	list := func() (own, others api.Binding) {
		all, _, err := w.Bindings(t.Context(), w.owner, BindingFilter{SecretID: w.secret.ID})
		if err != nil || len(all) != 2 {
			t.Fatalf("%d bindings, %v", len(all), err)
		}
		return all[0], all[1]
	}
	want(w.binding, `^own-[0-9a-f]{32}$`)
	want(w.away, `^ghp_[0-9A-Za-z]{36}$`)
	_, outside := brokerOf(t, w.Store, w.owner, api.Restrictions{Resources: []string{box2.String()}})
	before, err := w.state(t.Context(), outside, box2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule    api.EgressRule
		pattern string
		changes bool
	}{
		{api.EgressRule{Hosts: []string{"b.example"}, Shape: &api.EgressShape{Prefix: "ghp_", Length: 40}}, `^ghp_[0-9A-Za-z]{36}$`, false},
		{*shaped(api.EgressShape{Prefix: "sk-", Alphabet: "ab"}), `^sk-[ab]{128}$`, true},
		{*onlyTo("b.example"), `^miosa-tok-[a-z2-7]{26}$`, true},
		{api.EgressRule{}, `^miosa-tok-[a-z2-7]{26}$`, false},
	} {
		own, others := list()
		if _, err := w.SetRule(t.Context(), w.owner, w.secret.ID, tt.rule); err != nil {
			t.Fatal(err)
		}
		ownNow, othersNow := list()
		want(othersNow, tt.pattern)
		if ownNow.PlaceholderToken != own.PlaceholderToken || (othersNow.PlaceholderToken != others.PlaceholderToken) != tt.changes {
			t.Errorf("%s: placeholders %s and %s, before %s and %s", tt.pattern, ownNow.PlaceholderToken, othersNow.PlaceholderToken, own.PlaceholderToken, others.PlaceholderToken)
		}
	}
	if now, err := w.state(t.Context(), outside, box2); err != nil || now.etag == before.etag {
		t.Errorf("the etag is the same, %v", err)
	}
	_, err = w.SetRule(t.Context(), w.owner, w.secret.ID, *shaped(api.EgressShape{Prefix: "ghp_", Length: 20}))
	wantKind(t, err, api.ErrInvalid)
	seen := map[string]struct{}{}
	for range 1000 {
		seen[newPlaceholder(newRule(shaped(api.EgressShape{Prefix: "x", Alphabet: "01"})), "")] = struct{}{}
	}
	if len(seen) != 1000 {
		t.Errorf("%d different placeholders of 1000", len(seen))
	}
}

// The same binding again is accepted; with another rule it is refused, so that nobody takes it for changed.
func TestSameBindingWithAnotherRule(t *testing.T) {
	w := standIn(t, api.NewSecret{}, onlyTo("a.example"))
	n := api.NewBinding{SecretID: w.secret.ID, Resource: box1, ExposeAsEnv: "GH"}
	for _, tt := range []struct {
		rule *api.EgressRule
		want *api.Kind
	}{{nil, nil}, {onlyTo("a.example"), nil}, {onlyTo("b.example"), api.ErrConflict}, {new(api.EgressRule), api.ErrConflict}, {&api.EgressRule{Ports: []int{1}}, api.ErrInvalid}} {
		n.Egress = tt.rule
		b, created, err := w.CreateBinding(t.Context(), w.owner, n)
		if tt.want != nil {
			wantKind(t, err, tt.want)
		} else if err != nil || created || b.Egress == nil || b.ID != w.binding.ID {
			t.Errorf("%+v: %+v, %v", tt.rule, b.Egress, err)
		}
	}
}

// Broker keys are issued within the creator's restrictions, listed with their resources, replaced and revoked.
func TestBrokerKeys(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("a.example")}, nil)
	issue := func(a Actor, n api.KeyRequest) (api.IssuedKey, error) {
		n.Broker = true
		return w.IssueKey(t.Context(), a, n)
	}
	for name, n := range map[string]api.KeyRequest{
		"no resources":    {},
		"permissions":     {Restrictions: api.Restrictions{Resources: []string{"sandbox:sb_1"}, Permissions: []string{api.PermissionAuditRead}}},
		"one resource":    {Resource: box1},
		"a wrong one":     {Restrictions: api.Restrictions{Resources: []string{"vm:1"}}},
		"an unknown type": {Restrictions: api.Restrictions{Resources: []string{"sb_1"}}},
	} {
		if _, err := issue(w.owner, n); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := issue(w.reader, api.KeyRequest{Restrictions: api.Restrictions{Resources: []string{"sandbox:sb_1"}}})
	wantKind(t, err, api.ErrDenied)
	_, err = issue(w.broker, api.KeyRequest{Restrictions: api.Restrictions{Resources: []string{"sandbox:sb_1"}}})
	wantKind(t, err, api.ErrDenied)
	parent, err := w.IssueKey(t.Context(), w.owner, api.KeyRequest{Restrictions: api.Restrictions{
		Permissions: []string{api.PermissionKeysWrite}, Resources: []string{"sandbox:sb_1"}, Scopes: []string{"user"}}})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := api.ParseKey(parent.Key)
	limited := actorOf(t, w.Store, key)
	_, err = issue(limited, api.KeyRequest{Restrictions: api.Restrictions{Resources: []string{"sandbox:sb_2"}}})
	wantKind(t, err, api.ErrDenied)
	made, err := issue(limited, api.KeyRequest{Label: "edge"})
	if err != nil || !made.Broker || made.ParentID != parent.ID || made.Permissions != nil ||
		cmp.Diff(made.Resources, []string{"sandbox:sb_1"})+cmp.Diff(made.Scopes, []string{"user"}) != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	listed, _, err := w.IssuedKeys(t.Context(), w.owner, KeyFilter{ResourceType: "sandbox", ResourceID: "sb_1"})
	if err != nil || !slices.ContainsFunc(listed, func(k api.IssuedKey) bool { return k.ID == made.ID && k.Broker }) {
		t.Errorf("listed %+v, %v", listed, err)
	}
	for _, other := range []string{"sb%1", "SB_1", `sb_1"`, "sb!_1", "b_1"} {
		if listed, _, err := w.IssuedKeys(t.Context(), w.owner, KeyFilter{ResourceType: "sandbox", ResourceID: other}); err != nil || len(listed) != 0 {
			t.Errorf("%s: %d keys, %v", other, len(listed), err)
		}
	}
	own, err := w.OwnKey(t.Context(), w.broker)
	if err != nil || !own.Broker || own.Tenant != "" || own.ID != w.broker.KeyID {
		t.Errorf("itself %+v, %v", own, err)
	}
	next, err := w.ReplaceKey(t.Context(), w.owner, made.ID, Replacement{})
	if err != nil || !next.Broker || !strings.HasPrefix(next.Key, api.BrokerKeyPrefix) || next.Label != "edge" || next.Resources[0] != "sandbox:sb_1" {
		t.Fatalf("%+v, %v", next.Restrictions, err)
	}
	wantKind(t, w.RevokeResourceKey(t.Context(), w.owner, w.broker.KeyID), api.ErrNotFound)
	done := waiting(t, w.Store, w.broker, etagOf(t, w.Store, w.broker), 20*time.Second)
	if _, err := w.Revoke(t.Context(), w.owner, w.broker.KeyID, ""); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-done, api.ErrUnauthorized)
	_, err = w.opened(t.Context(), w.broker, box1)
	wantKind(t, err, api.ErrUnauthorized)
}

// What a broker's answer takes is limited too, though agents get short placeholders.
func TestLargestSetOfABroker(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	long := text(strings.Repeat("v", api.MaxValueBytes))
	for i := range 11 {
		secret := put(t, s, owner, api.NewSecret{Name: string(rune('a' + i)), Value: long})
		_, _, err := s.CreateBinding(t.Context(), owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "A" + string(rune('A'+i)), Delivery: api.DeliverPlaceholder})
		if i < 10 && err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			wantKind(t, err, api.ErrInvalid)
		}
	}
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	if set, err := s.opened(t.Context(), broker, box1); err != nil || len(set) != 10 {
		t.Errorf("a set of %d, %v", len(set), err)
	}
}

// A connected account gets its provider's rule; connected again, it keeps what was changed, with other permissions than to bind.
func TestRuleOfAConnectedAccount(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	k, err := s.IssueKey(t.Context(), owner, api.KeyRequest{Restrictions: api.Restrictions{Permissions: []string{api.PermissionOAuth}}})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := api.ParseKey(k.Key)
	connects := actorOf(t, s, key)
	connect := func() api.Secret {
		t.Helper()
		f, state, err := NewFlow(connects, "github", "https://vault.example/callback", Wanted{}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddFlow(t.Context(), connects, f, state); err != nil {
			t.Fatal(err)
		}
		n := ConnectedSecret(api.OAuthSecret{}, "github")
		n.Value, n.RefreshToken, n.Metadata = text("v"), text("r"), []byte("{}")
		if f, err = s.FindFlow(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		if err := s.CompleteFlow(t.Context(), Actor{}, f, n, onlyTo("api.github.com")); err != nil {
			t.Fatal(err)
		}
		all, _, err := s.Secrets(t.Context(), owner, SecretFilter{})
		if err != nil || len(all) != 1 {
			t.Fatalf("%d secrets, %v", len(all), err)
		}
		return all[0]
	}
	first := connect()
	if first.Egress == nil || first.Egress.Hosts[0] != "api.github.com" {
		t.Errorf("first: %+v", first.Egress)
	}
	if _, err := s.SetRule(t.Context(), owner, first.ID, *onlyTo("ghe.example")); err != nil {
		t.Fatal(err)
	}
	if again := connect(); again.ID == first.ID || again.Egress == nil || again.Egress.Hosts[0] != "ghe.example" {
		t.Errorf("again: %+v", again.Egress)
	}
}

// A renewal of a token and its failure leave the rule as it is.
func TestRuleOfARenewedToken(t *testing.T) {
	w := standIn(t, api.NewSecret{Egress: onlyTo("api.github.com")}, nil)
	expires := in(time.Hour)
	secret, _, _, err := w.PutSecret(t.Context(), w.owner, api.NewSecret{Name: "GH", Value: text("first"), RefreshToken: text("r"), ExpiresAt: expires}, &Grant{Provider: "github"})
	if err != nil {
		t.Fatal(err)
	}
	want := func(value string) {
		t.Helper()
		set, err := w.opened(t.Context(), w.broker, box1)
		if err != nil || len(set) != 1 || set[0].Value.Reveal() != value || len(set[0].Egress.Rules) != 1 {
			t.Fatalf("a set of %d, %v", len(set), err)
		}
	}
	want("first")
	for _, fails := range []bool{false, true} {
		if err := w.Alter(t.Context(), `UPDATE oauth_grants SET due_at = 1, claimed_until = 0`); err != nil {
			t.Fatal(err)
		}
		claimed, err := w.ClaimRefresh(t.Context(), w.owner.TenantID, secret.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		if fails {
			_, err = w.FailRefresh(t.Context(), claimed, &oauth.Error{Code: "invalid_grant", Outcome: oauth.Refused})
		} else {
			err = w.StoreRefresh(t.Context(), claimed, oauth.Token{Access: text("second"), Refresh: text("r2"), ExpiresAt: expires})
		}
		if err != nil {
			t.Fatal(err)
		}
		want("second")
	}
}
