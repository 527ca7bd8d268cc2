package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// report returns n reports of requests of box1 to a host.
func reports(n int, host string) []api.TrafficEvent {
	list := make([]api.TrafficEvent, n)
	for i := range list {
		list[i] = api.TrafficEvent{ID: strings.ToLower(fmt.Sprintf("%s-%016d", strings.ReplaceAll(host, ".", "-"), i)), OccurredAt: time.Unix(1_700_000_000+int64(i), 0), Resource: box1,
			Host: host, Method: "GET", Path: fmt.Sprint("/v1/items/", i), StatusCode: 200, Effect: api.EffectAllow}
	}
	return list
}

func record(t testing.TB, s *Store, a Actor, list []api.TrafficEvent) api.TrafficAnswer {
	t.Helper()
	answer, err := s.RecordTraffic(t.Context(), a, list)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// What a broker reports is an event with all of it, found by each filter, part of the chain, exported and verified.
func TestRecordTraffic(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	secret := put(t, s, owner, api.NewSecret{Name: "GH", Value: text("v"), Scope: "external_user", ExternalUserID: "xu_1", ExternalWorkspaceID: "xw_1"})
	binding := bind(t, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "GH", Delivery: api.DeliverPlaceholder})
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC)
	full := api.TrafficEvent{ID: "0123456789abcdef", OccurredAt: at, Resource: box1, Host: "api.example.com", Method: "POST", Path: "/v1/a%20b", StatusCode: 201,
		Effect: api.EffectAllow, RuleID: "rul_1", PolicyID: "pol_1", Swapped: []api.EventRef{{ID: binding.ID, SecretID: secret.ID, Version: 3}}}
	denied := api.TrafficEvent{ID: "0123456789abcdeg", OccurredAt: at, Resource: box1, Host: "evil.example.com", Effect: api.EffectDeny, Refused: true}
	misused := api.TrafficEvent{ID: "0123456789abcdeh", OccurredAt: at, Resource: box1, Host: "evil.example.com", Effect: api.EffectPending, Refused: true, Reason: "placeholder for another host"}
	if got := record(t, s, broker, []api.TrafficEvent{full, denied, misused}); got != (api.TrafficAnswer{Recorded: 3}) {
		t.Fatalf("%+v", got)
	}
	list := func(f AuditFilter) []api.Event {
		t.Helper()
		events, _, err := s.Audit(t.Context(), owner, f)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	of := list(AuditFilter{ResourceID: box1.ID, KeyID: broker.KeyID})
	if len(of) != 3 {
		t.Fatalf("%d events", len(of))
	}
	swapped := &api.Transforms{}
	swapped.Secrets.Swapped = []string{secret.ID}
	want := []api.Event{
		{Action: "traffic.pending", Outcome: "denied", Detail: "placeholder for another host", Traffic: api.Traffic{Host: "evil.example.com", Effect: "pending"}},
		{Action: "traffic.deny", Outcome: "denied", Traffic: api.Traffic{Host: "evil.example.com", Effect: "deny"}},
		{Action: "traffic.allow", Outcome: "ok", Bindings: full.Swapped, Traffic: api.Traffic{Host: "api.example.com", Method: "POST", Path: "/v1/a%20b", StatusCode: 201,
			Effect: "allow", RuleID: "rul_1", PolicyID: "pol_1", ExternalUserID: "xu_1", ExternalWorkspaceID: "xw_1", Transforms: swapped}},
	}
	for i := range want {
		e := &want[i]
		e.KeyID, e.ResourceType, e.ResourceID, e.RemoteAddr, e.RequestID, e.OccurredAt = broker.KeyID, box1.Type, box1.ID, broker.RemoteAddr, broker.RequestID, &at
	}
	if diff := cmp.Diff(of, want, cmpopts.IgnoreFields(api.Event{}, "ID", "TenantID", "Timestamp", "InsertedAt", "Seq", "Hash")); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	for name, f := range map[string]AuditFilter{
		"host": {Host: "api.example.com"}, "secret": {SecretID: secret.ID, KeyID: broker.KeyID}, "user": {ExternalUserID: "xu_1", KeyID: broker.KeyID},
		"workspace": {ExternalWorkspaceID: "xw_1", KeyID: broker.KeyID}, "action": {Action: "traffic.allow"}, "since": {Action: "traffic.allow", Since: new(time.Now().Add(-time.Hour))},
	} {
		if got := list(f); len(got) != 1 || got[0].Host != "api.example.com" {
			t.Errorf("by %s: %d events", name, len(got))
		}
	}
	groups, _, err := s.AuditHosts(t.Context(), owner, AuditFilter{})
	if err != nil || len(groups) != 2 || groups[0].Host != "evil.example.com" || groups[0].Count != 2 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("verify: %+v", check.Problem)
	}
	var out bytes.Buffer
	if err := s.AuditLogs().Export(t.Context(), owner.TenantID, func(e audit.ExportedEvent) error { return json.NewEncoder(&out).Encode(e) }); err != nil {
		t.Fatal(err)
	}
	if _, check, err := audit.VerifyExport(bytes.NewReader(out.Bytes()), nil); err != nil || check.Problem != nil {
		t.Errorf("verify an export: %+v, %v", check.Problem, err)
	}
	for field, change := range map[string][2]string{
		"method": {`"POST"`, `"PUT"`}, "path": {"/v1/a%20b", "/v1/a"}, "status_code": {"201", "500"}, "effect": {`"effect":"deny"`, `"effect":"allow"`},
		"rule_id": {"rul_1", "rul_2"}, "policy_id": {"pol_1", "pol_2"}, "occurred_at": {"03:04:05.000678Z", "03:04:05.000679Z"},
	} {
		altered := strings.Replace(out.String(), change[0], change[1], 1)
		if _, check, err := audit.VerifyExport(strings.NewReader(altered), nil); altered == out.String() || err != nil || check.Problem == nil {
			t.Errorf("%s can be changed in an export", field)
		}
		column := strings.Trim(field, " ")
		if field == "status_code" || field == "occurred_at" {
			tamper(t, s, `UPDATE audit SET `+column+` = `+column+` + 1 WHERE host = 'api.example.com'`)
		} else {
			tamper(t, s, `UPDATE audit SET `+column+` = `+column+` || 'x' WHERE host = 'api.example.com'`)
		}
		if check := verified(t, s, owner, &audit.Verifier{}); kindOf(check) != "changed" {
			t.Errorf("%s can be changed in the database: %+v", field, check)
		}
		if field == "status_code" || field == "occurred_at" {
			tamper(t, s, `UPDATE audit SET `+column+` = `+column+` - 1 WHERE host = 'api.example.com'`)
		} else {
			tamper(t, s, `UPDATE audit SET `+column+` = substr(`+column+`, 1, length(`+column+`) - 1) WHERE host = 'api.example.com'`)
		}
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("verify at the end: %+v", check.Problem)
	}
}

// A broker's report says nothing about secrets that it doesn't get for the resource: a forged one doesn't appear among another resource's,
// and doesn't tell whose secret that is.
func TestAttack_ForgedTraffic(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := func(name, scope, user string) string {
		return put(t, s, owner, api.NewSecret{Name: name, Value: text("v"), Scope: scope, ExternalUserID: user}).ID
	}
	binding := func(secret, env, delivery string, r api.Resource) api.EventRef {
		return api.EventRef{ID: bind(t, s, owner, api.NewBinding{SecretID: secret, Resource: r, ExposeAsEnv: env, Delivery: delivery}).ID, SecretID: secret, Version: 1}
	}
	const placeholder = api.DeliverPlaceholder
	own, others := secret("OWN", "external_user", "xu_own"), secret("OTHERS", "external_user", "xu_others")
	ours, theirs := binding(own, "OWN", placeholder, box1), binding(others, "OTHERS", placeholder, box2)
	plain := binding(secret("PLAIN", "external_user", "xu_plain"), "PLAIN", api.DeliverValue, box1)
	hidden := binding(secret("HIDDEN", "workspace", "xu_hidden"), "HIDDEN", placeholder, box1)
	unbound := binding(secret("UNBOUND", "external_user", "xu_unbound"), "UNBOUND", placeholder, box1)
	if err := s.DeleteBinding(t.Context(), owner, unbound.ID); err != nil {
		t.Fatal(err)
	}
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String(), box2.String()}, Scopes: []string{"external_user"}})
	without := func(ref api.EventRef) api.EventRef { return api.EventRef{ID: ref.ID, Version: ref.Version} }
	type recorded struct {
		Bindings     []api.EventRef
		User, Detail string
		Swapped      []string
	}
	for i, tt := range []struct {
		name   string
		reason string
		swaps  []api.EventRef
		want   recorded
	}{
		{"its own", "", []api.EventRef{ours}, recorded{[]api.EventRef{ours}, "xu_own", "", []string{own}}},
		{"a binding of another resource", "", []api.EventRef{theirs, theirs, ours},
			recorded{[]api.EventRef{ours}, "xu_own", "named a binding of another resource, which was left out", []string{own}}},
		{"a binding of another resource, with a reason", "why", []api.EventRef{theirs},
			recorded{nil, "", "why; named a binding of another resource, which was left out", nil}},
		{"no binding", "", []api.EventRef{{ID: "bnd_fake", SecretID: others, Version: 1}}, recorded{[]api.EventRef{{ID: "bnd_fake", Version: 1}}, "", "", nil}},
		{"its own binding with another secret", "", []api.EventRef{{ID: ours.ID, SecretID: others, Version: 1}}, recorded{[]api.EventRef{without(ours)}, "", "", nil}},
		{"a binding that delivers the value", "", []api.EventRef{plain}, recorded{[]api.EventRef{without(plain)}, "", "", nil}},
		{"a scope that isn't its own", "", []api.EventRef{hidden}, recorded{[]api.EventRef{without(hidden)}, "", "", nil}},
		{"deleted meanwhile", "", []api.EventRef{unbound, ours}, recorded{[]api.EventRef{without(unbound), ours}, "xu_own", "", []string{own}}},
	} {
		e := reports(1, fmt.Sprintf("h%d.example.com", i))[0]
		e.Reason, e.Swapped = tt.reason, tt.swaps
		record(t, s, broker, []api.TrafficEvent{e})
		events, _, err := s.Audit(t.Context(), owner, AuditFilter{Host: e.Host})
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: %d events, %v", tt.name, len(events), err)
		}
		got := recorded{events[0].Bindings, events[0].ExternalUserID, events[0].Detail, nil}
		if events[0].Transforms != nil {
			got.Swapped = events[0].Transforms.Secrets.Swapped
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.name, diff)
		}
	}
	for _, f := range []AuditFilter{{SecretID: others, KeyID: broker.KeyID}, {ExternalUserID: "xu_others", KeyID: broker.KeyID}} {
		if events, _, err := s.Audit(t.Context(), owner, f); err != nil || len(events) != 0 {
			t.Errorf("%+v: %d events, %v", f, len(events), err)
		}
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("verify: %+v", check.Problem)
	}
}

// A report that is sent again, whole, in part or twice at once, adds nothing; not even after a part of it.
func TestTrafficIsRecordedOnce(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	_, foreign := brokerOf(t, s, other, api.Restrictions{Resources: []string{box1.String()}})
	list := reports(600, "a.example.com") // more than one transaction
	for _, step := range []struct {
		send []api.TrafficEvent
		want api.TrafficAnswer
	}{
		{list[:100], api.TrafficAnswer{Recorded: 100}},
		{list, api.TrafficAnswer{Recorded: 500, Known: 100}},
		{list, api.TrafficAnswer{Known: 600}},
		{[]api.TrafficEvent{list[3], list[3]}, api.TrafficAnswer{Known: 2}},
		{slices.Concat(reports(1, "b.example.com"), reports(1, "b.example.com")), api.TrafficAnswer{Recorded: 1, Known: 1}},
	} {
		if got := record(t, s, broker, step.send); got != step.want {
			t.Errorf("%d reports: %+v, want %+v", len(step.send), got, step.want)
		}
	}
	if got := record(t, s, foreign, list[:10]); got != (api.TrafficAnswer{Recorded: 10}) { // ids are the tenant's
		t.Errorf("another tenant: %+v", got)
	}
	ended := make(chan error, 4)
	again := reports(300, "c.example.com")
	for range cap(ended) {
		go func() {
			_, err := s.RecordTraffic(t.Context(), broker, again)
			ended <- err
		}()
	}
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	var n int
	look(t, s, &n, `SELECT COUNT(*) FROM audit WHERE tenant_id = $1 AND action = 'traffic.allow'`, owner.TenantID)
	if n != 901 {
		t.Errorf("%d events, want 901", n)
	}
	if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil {
		t.Errorf("verify: %+v", check.Problem)
	}
}

// Nothing of a report is recorded if one event is invalid or of a resource that isn't the broker's; other keys report nothing.
func TestTrafficRefusals(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	good := reports(2, "a.example.com")
	with := func(change func(*api.TrafficEvent)) []api.TrafficEvent {
		list := slices.Clone(good)
		change(&list[1])
		return list
	}
	for _, tt := range []struct {
		name string
		list []api.TrafficEvent
		kind *api.Kind
		says string
	}{
		{"none", nil, api.ErrInvalid, "1 to 1000"},
		{"too many", reports(1001, "a.example.com"), api.ErrInvalid, "1 to 1000"},
		{"no id", with(func(e *api.TrafficEvent) { e.ID = "" }), api.ErrInvalid, "events[1].id"},
		{"an id with spaces", with(func(e *api.TrafficEvent) { e.ID = "0123456789 abcdef" }), api.ErrInvalid, "events[1].id"},
		{"no time", with(func(e *api.TrafficEvent) { e.OccurredAt = time.Time{} }), api.ErrInvalid, "events[1].occurred_at"},
		{"no resource", with(func(e *api.TrafficEvent) { e.Resource = api.Resource{} }), api.ErrInvalid, "events[1].resource_type"},
		{"no host", with(func(e *api.TrafficEvent) { e.Host = "" }), api.ErrInvalid, "events[1].host"},
		{"a long host", with(func(e *api.TrafficEvent) { e.Host = strings.Repeat("h", 254) }), api.ErrInvalid, "events[1].host"},
		{"an invisible host", with(func(e *api.TrafficEvent) { e.Host = "a\u202eb" }), api.ErrInvalid, "events[1].host"},
		{"a query", with(func(e *api.TrafficEvent) { e.Path = "/a?token=x" }), api.ErrInvalid, "events[1].path"},
		{"a long path", with(func(e *api.TrafficEvent) { e.Path = strings.Repeat("p", 1025) }), api.ErrInvalid, "events[1].path"},
		{"a line break", with(func(e *api.TrafficEvent) { e.Path = "/a\nb" }), api.ErrInvalid, "events[1].path"},
		{"a long method", with(func(e *api.TrafficEvent) { e.Method = strings.Repeat("M", 33) }), api.ErrInvalid, "events[1].method"},
		{"a status", with(func(e *api.TrafficEvent) { e.StatusCode = 1000 }), api.ErrInvalid, "events[1].status_code"},
		{"an effect", with(func(e *api.TrafficEvent) { e.Effect = "drop" }), api.ErrInvalid, "events[1].effect"},
		{"a rule", with(func(e *api.TrafficEvent) { e.RuleID = "a b" }), api.ErrInvalid, "events[1].rule_id"},
		{"a swap", with(func(e *api.TrafficEvent) { e.Swapped = []api.EventRef{{ID: "bnd_1"}} }), api.ErrInvalid, "events[1].swapped"},
		{"another resource", with(func(e *api.TrafficEvent) { e.Resource = box2 }), api.ErrDenied, "another resource"},
	} {
		_, err := s.RecordTraffic(t.Context(), broker, tt.list)
		wantKind(t, err, tt.kind)
		if err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	for name, a := range map[string]Actor{"tenant": owner, "resource": agent(t, s, owner, box1)} {
		_, err := s.RecordTraffic(t.Context(), a, good)
		wantKind(t, err, api.ErrDenied)
		if err == nil {
			t.Errorf("the %s key reports", name)
		}
	}
	events, _, err := s.Audit(t.Context(), owner, AuditFilter{Host: "a.example.com"})
	if err != nil || len(events) != 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if err := s.RevokeKey(t.Context(), broker.KeyID); err != nil {
		t.Fatal(err)
	}
	_, err = s.RecordTraffic(t.Context(), broker, good)
	wantKind(t, err, api.ErrUnauthorized)
}

// Reports have limits of their own, which leave those of reveals alone.
func TestTrafficLimits(t *testing.T) {
	s := limitedTo(t, only(limit.TenantTraffic, 10))
	owner := tenant(t, s, "acme")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String()}})
	record(t, s, broker, reports(200, "a.example.com"))
	_, err := s.RecordTraffic(t.Context(), broker, reports(1, "b.example.com"))
	wantLimit(t, err, api.ErrRateLimited, "tenant_traffic")
	revealed(t, s, agent(t, s, owner, box1))
}

// Hosts of denied and pending requests that no rule names are suggested, until one does.
func TestSuggestions(t *testing.T) {
	s := newStore(t)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String(), box2.String()}})
	_, foreign := brokerOf(t, s, other, api.Restrictions{Resources: []string{box1.String()}})
	sent := 0
	send := func(a Actor, n int, host string, change func(*api.TrafficEvent)) {
		t.Helper()
		list := reports(n, host)
		for i := range list {
			sent++
			list[i].ID += fmt.Sprint("-", sent)
			if change != nil {
				change(&list[i])
			}
		}
		record(t, s, a, list)
	}
	pending := func(e *api.TrafficEvent) { e.Effect = api.EffectPending }
	refused := func(e *api.TrafficEvent) { e.Effect, e.Refused, e.Method = api.EffectDeny, true, "POST" }
	send(foreign, 9, "foreign.example.com", pending)
	send(broker, 5, "allowed.example.com", nil)
	send(broker, 3, "pending.example.com", pending)
	send(broker, 2, "denied.example.com", refused)
	send(broker, 2, "pending.example.com", refused)
	send(broker, 4, "ruled.example.com", func(e *api.TrafficEvent) { refused(e); e.RuleID = "rul_1" })
	send(broker, 1, "pending.example.com", func(e *api.TrafficEvent) { pending(e); e.Resource = box2 })
	suggested := func(a Actor, f AuditFilter) (list []string) {
		t.Helper()
		all, err := s.Suggestions(t.Context(), a, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			list = append(list, fmt.Sprint(g.Host, " ", g.ResourceID, " ", g.Reason, " ", g.Count, " ", g.DeniedCount, " ", strings.Join(g.Methods, ",")))
			if g.FirstSeen.IsZero() || g.LastSeen.Before(g.FirstSeen) {
				t.Errorf("%+v", g)
			}
		}
		return list
	}
	of1 := []string{"pending.example.com sb_1 deny 5 2 GET,POST", "denied.example.com sb_1 deny 2 2 POST"}
	of2 := "pending.example.com sb_attacker pending 1 0 GET"
	if diff := cmp.Diff(suggested(owner, AuditFilter{}), append(slices.Clone(of1), of2)); diff != "" {
		t.Errorf("all (-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(suggested(owner, AuditFilter{ResourceID: box1.ID, ResourceType: box1.Type, Since: new(time.Now().Add(-time.Hour))}), of1); diff != "" {
		t.Errorf("of a resource (-got +want)\n%s", diff)
	}
	if got := suggested(owner, AuditFilter{Since: new(time.Now().Add(time.Hour))}); got != nil {
		t.Errorf("later: %v", got)
	}
	if diff := cmp.Diff(suggested(limitedKey(t, s, owner, box2), AuditFilter{}), []string{of2}); diff != "" {
		t.Errorf("of a restricted key (-got +want)\n%s", diff)
	}
	allow(t, s, owner, api.NewAllowlistEntry{Host: "*.example.com", Resource: box1, Methods: []string{"HEAD"}})
	if diff := cmp.Diff(suggested(owner, AuditFilter{}), []string{of2}); diff != "" {
		t.Errorf("once a rule names it (-got +want)\n%s", diff)
	}
	allow(t, s, owner, api.NewAllowlistEntry{Host: "pending.example.com", Effect: "deny"})
	if got := suggested(owner, AuditFilter{}); got != nil {
		t.Errorf("once rules name all: %v", got)
	}
}

// limitedKey returns the actor of a key that is restricted to a resource.
func limitedKey(t testing.TB, s *Store, owner Actor, r api.Resource) Actor {
	t.Helper()
	k, err := s.IssueKey(t.Context(), owner, api.KeyRequest{Restrictions: api.Restrictions{Resources: []string{r.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(k.Key)
	if err != nil {
		t.Fatal(err)
	}
	return actorOf(t, s, key)
}

// A follower gets each event of its resource once and in order, whichever process writes it, and none of others.
func TestAuditAfter(t *testing.T) {
	dir := t.TempDir()
	s, elsewhere := storeAt(t, dir), storeAt(t, dir)
	owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
	_, broker := brokerOf(t, s, owner, api.Restrictions{Resources: []string{box1.String(), box2.String()}})
	_, foreign := brokerOf(t, s, other, api.Restrictions{Resources: []string{box1.String()}})
	record(t, s, broker, reports(3, "before.example.com"))
	at, err := s.AuditEnd(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	ofOther := reports(5, "box2.example.com")
	for i := range ofOther {
		ofOther[i].Resource = box2
	}
	record(t, s, broker, ofOther)
	record(t, s, foreign, reports(5, "foreign.example.com"))
	const n = 700 // more than a page
	record(t, elsewhere, broker, reports(n, "a.example.com"))
	var paths []string
	for range 5 {
		var events []api.Event
		if events, at, err = s.AuditAfter(t.Context(), owner, at, box1.ID); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			paths = append(paths, e.Host+e.Path)
		}
	}
	if len(paths) != n || paths[0] != "a.example.com/v1/items/0" || paths[n-1] != fmt.Sprint("a.example.com/v1/items/", n-1) {
		t.Errorf("%d events", len(paths))
	}
	if _, _, err := s.AuditAfter(t.Context(), broker, 0, box1.ID); err == nil {
		t.Error("a broker follows the audit")
	}
}

// BenchmarkRecordTraffic records reports of 1,000 requests, of which one in ten used a secret.
func BenchmarkRecordTraffic(b *testing.B) {
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		b.Run(database, func(b *testing.B) {
			dir := b.TempDir()
			if database == "PostgreSQL" {
				dir = postgrestest.StoreFolder(b)
			}
			s := storeAt(b, dir)
			owner := tenant(b, s, "acme")
			_, broker := brokerOf(b, s, owner, api.Restrictions{Resources: []string{box1.String()}})
			secret := put(b, s, owner, api.NewSecret{Name: "GH", Value: text("v")})
			binding := bind(b, s, owner, api.NewBinding{SecretID: secret.ID, Resource: box1, ExposeAsEnv: "GH", Delivery: api.DeliverPlaceholder})
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				list := reports(1000, fmt.Sprintf("h%d.example.com", n))
				for i := range list {
					if i%10 == 0 {
						list[i].Swapped = []api.EventRef{{ID: binding.ID, SecretID: secret.ID, Version: 1}}
					}
				}
				n++
				record(b, s, broker, list)
			}
			b.ReportMetric(float64(n)*1000/b.Elapsed().Seconds(), "events/s")
			if database == "SQLite" {
				var bytes int64
				look(b, s, &bytes, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`)
				b.ReportMetric(float64(bytes)/float64(n*1000), "bytes/event")
			}
		})
	}
}
