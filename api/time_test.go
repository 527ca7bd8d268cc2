package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

func TestLooseTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Time
		ok   bool
	}{
		{`"2026-01-02T03:04:05Z"`, at, true},
		{`"2026-01-02T03:04:05"`, at, true},
		{`"2026-01-02T03:04:05.250000"`, at.Add(250 * time.Millisecond), true},
		{`"2026-01-02T05:04:05+02:00"`, at, true},
		{`""`, time.Time{}, true},
		{`null`, time.Time{}, true},
		{`"yesterday"`, time.Time{}, false},
		{`"2026-01-02"`, time.Time{}, false},
		{`1767323045`, time.Time{}, false},
		{`{}`, time.Time{}, false},
	} {
		var got api.LooseTime
		if err := json.Unmarshal([]byte(tt.text), &got); (err == nil) != tt.ok || !got.Equal(tt.want) {
			t.Errorf("%s: %s, error %v", tt.text, got, err)
		}
	}
}

func TestParseAgo(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1s": time.Second, "90m": 90 * time.Minute, "24h": 24 * time.Hour, "2w": 14 * 24 * time.Hour, "007d": 7 * 24 * time.Hour, "36500d": 36500 * 24 * time.Hour,
		"": 0, "d": 0, "7": 0, "0d": 0, "-1d": 0, "+1d": 0, "1.5h": 0, "7y": 0, "7 d": 0, "7D": 0, "1h30m": 0, "36501d": 0, "99999999999999999999d": 0,
	} {
		if got, ok := api.ParseAgo(s); got != want || ok != (want > 0) {
			t.Errorf("%q: %s, %v", s, got, ok)
		}
	}
}

// Responses of MIOSA's platform, with its own field names and formats of times and ids, decode into the same
// types.
func TestPlatformObjects(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var got struct {
		Event   api.Event
		Secret  api.Secret
		Binding api.Binding
	}
	err := json.Unmarshal([]byte(`{
		"event": {"id": 17, "action": "allowed", "host": "api.github.com", "method": "GET", "path": "/user", "status_code": 200, "effect": "allow",
			"policy_id": "pol_1", "rule_id": null, "external_user_id": "u_1", "metadata": {"a": 1}, "inserted_at": "2026-01-02T03:04:05", "resource_id": "sb_1"},
		"secret": {"id": "sec_1", "expires_at": "2026-01-02T03:04:05.000000", "inserted_at": "2026-01-02T03:04:05", "updated_at": null, "metadata": null},
		"binding": {"id": "bnd_1", "secret_id": "sec_1", "resource_id": "sb_1", "resource_type": "sandbox", "created_at": "2026-01-02T03:04:05", "placeholder_token": null}}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := api.Event{ID: "17", Timestamp: at, InsertedAt: at, Action: "allowed", ResourceID: "sb_1", Traffic: api.Traffic{Host: "api.github.com", Method: "GET",
		Path: "/user", StatusCode: 200, Effect: "allow", PolicyID: "pol_1", ExternalUserID: "u_1", Metadata: json.RawMessage(`{"a": 1}`)}}
	if diff := cmp.Diff(got.Event, want); diff != "" {
		t.Errorf("event (-got +want):\n%s", diff)
	}
	if s := got.Secret; s.ExpiresAt == nil || !s.ExpiresAt.Equal(at) || !s.CreatedAt.Equal(at) || !s.UpdatedAt.IsZero() {
		t.Errorf("secret %+v", s)
	}
	if b := got.Binding; b.Resource != sandbox || !b.CreatedAt.Equal(at) || b.PlaceholderToken != "" {
		t.Errorf("binding %+v", b)
	}
}

// The vault's own events have no traffic fields and survive a round trip.
func TestEventRoundTrip(t *testing.T) {
	event := api.Event{ID: "evt_1", TenantID: "ten_1", Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Action: "reveal", Outcome: api.OutcomeOK, KeyID: "key_1"}
	text, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"evt_1","tenant_id":"ten_1","timestamp":"2026-01-02T03:04:05.000006Z","action":"reveal","outcome":"ok","key_id":"key_1"}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var got api.Event
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, event); diff != "" {
		t.Errorf("event (-got +want):\n%s", diff)
	}
}
