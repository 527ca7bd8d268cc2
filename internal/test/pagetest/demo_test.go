package pagetest

import (
	"encoding/json"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

var (
	production = api.Resource{Type: api.Sandbox, ID: "sb_checkout"}
	preview    = api.Resource{Type: api.Sandbox, ID: "sb_preview_42"}
	builder    = api.Resource{Type: api.Computer, ID: "build-01"}
)

// demo fills a vault with the secrets of a small team, with one of each problem.
func demo(s *screen) {
	s.Helper()
	put := func(body map[string]any) string {
		body["value"] = "example-value-that-is-nobodys-0001"
		return s.PutSecret(s, body)
	}
	github := put(map[string]any{"name": "github-deploy", "owner_user_id": "maria"})
	openai := put(map[string]any{"name": "openai", "scope": "workspace", "workspace_id": "research", "type": "bearer"})
	postgres := s.PutSecret(s, map[string]any{"name": "postgres", "value": "short", "scope": "tenant", "type": "basic"})
	signing := s.PutSecret(s, map[string]any{"name": "signing-key", "value": "short", "scope": "tenant", "type": "generic",
		"expires_at": time.Now().Add(12*24*time.Hour + time.Hour)})
	put(map[string]any{"name": "webhooks", "scope": "external_user", "external_user_id": "customer-118"})
	calendar := put(map[string]any{"name": "calendar", "type": "oauth_connect", "owner_user_id": "maria",
		"metadata": map[string]any{"oauth": map[string]any{"provider": "google", "status": "connected", "scopes": []string{"calendar.readonly"}}}})
	put(map[string]any{"name": "issues", "type": "oauth_connect", "owner_user_id": "jon",
		"metadata": map[string]any{"oauth": map[string]any{"provider": "github", "status": "reconnect_required", "scopes": []string{"repo", "read:org"}}}})

	bind := func(secret string, r api.Resource, env string) {
		s.Helper()
		body := map[string]any{"secret_id": secret, "resource_type": r.Type, "resource_id": r.ID, "expose_as_env": env}
		if status, text := s.Do(s, s.TenantKey, "POST", "/egress/bindings", body); status/100 != 2 {
			s.Fatalf("bind: status %d: %s", status, text)
		}
	}
	bind(github, preview, "GH_TOKEN")
	bind(postgres, preview, "DATABASE_URL")
	bind(openai, preview, "OPENAI_API_KEY")
	s.revealed(preview)
	s.Rotate(s, github, "example-value-that-is-nobodys-0002")
	s.Rotate(s, github, "example-value-that-is-nobodys-0001")
	s.Rotate(s, openai, "example-value-that-is-nobodys-0002")
	bind(github, production, "GH_TOKEN")
	bind(postgres, production, "DATABASE_URL")
	bind(calendar, production, "CALENDAR_TOKEN")
	s.revealed(production)
	bind(signing, builder, "SIGNING_KEY")
	if status, text := s.Do(s, s.TenantKey, "POST", "/egress/keys", map[string]any{
		"label": "deploys", "permissions": []string{"secrets:read", "bindings:write"}, "resources": []string{production.String()},
		"expires_at": time.Now().Add(60*24*time.Hour + time.Hour),
	}); status != 201 {
		s.Fatalf("create a key: status %d: %s", status, text)
	}
	s.age(map[string]time.Duration{
		"github-deploy": 2*time.Hour + time.Minute, "openai": 35*time.Minute + time.Second, "postgres": 9*24*time.Hour + time.Hour,
		"signing-key": 3*24*time.Hour + time.Hour, "webhooks": 20*24*time.Hour + time.Hour,
		"calendar": 26*time.Minute + time.Second, "issues": 6*24*time.Hour + time.Hour,
	}, map[string]time.Duration{production.ID: 25*time.Minute + time.Second, preview.ID: 4*time.Hour + time.Minute})
}

// age changes the times of secrets, by name, and of the reveals of resources, by id, in what the page gets: the vault's clock
// cannot be set, and its rows can't be changed from outside.
func (s *screen) age(secrets, reveals map[string]time.Duration) {
	s.Helper()
	ages, err := json.Marshal(map[string]map[string]time.Duration{"secrets": secrets, "reveals": reveals})
	if err != nil {
		s.Fatal(err)
	}
	eval[bool](s, `(() => {
		const ages = `+string(ages)+`;
		const at = (age) => new Date(Date.now() - age / 1e6).toISOString();
		const change = (o) => {
			const age = ages.secrets?.[o.name ?? o.secret_name];
			if (age && o.updated_at) o.updated_at = at(age);
			if (o.action === 'reveal' && ages.reveals?.[o.resource_id]) o.timestamp = o.last_at = at(ages.reveals[o.resource_id]);
		};
		const fetched = window.fetch;
		window.fetch = async (...request) => {
			const response = await fetched(...request);
			const body = await response.json();
			for (const list of [body.secrets, body.bindings, body.events]) list?.forEach(change);
			return new Response(JSON.stringify(body), { status: response.status, headers: response.headers });
		};
		return true;
	})()`)
}
