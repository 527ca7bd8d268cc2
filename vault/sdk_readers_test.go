package vault_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// sdk describes how one of MIOSA's SDKs reads responses: how it unwraps an envelope and what it fails on.
type sdk struct {
	name   string
	object func(body []byte) (map[string]any, error)
	list   func(body []byte, noun string) ([]any, error)
}

var sdks = []sdk{
	{"python", small("data", "secret", "binding", "items"), firstList},
	{"elixir", small("data", "secret", "binding"), firstList},
	{"typescript", firstOf("data", "secret", "binding", "items"), func(body []byte, _ string) ([]any, error) {
		return listUnder(body, "data", "secrets", "bindings", "providers", "items")
	}},
	{"go", goObject, goList},
}

// small unwraps the first of these keys if the body has at most one other key; otherwise it returns the body.
func small(keys ...string) func([]byte) (map[string]any, error) {
	return func(body []byte) (map[string]any, error) {
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, err
		}
		for _, k := range keys {
			if inner, ok := o[k]; ok && len(o) <= 2 {
				return asObject(inner)
			}
		}
		return o, nil
	}
}

// firstOf unwraps the first of these keys that is present; otherwise it returns the body.
func firstOf(keys ...string) func([]byte) (map[string]any, error) {
	return func(body []byte) (map[string]any, error) {
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, err
		}
		for _, k := range keys {
			if inner, ok := o[k]; ok {
				return asObject(inner)
			}
		}
		return o, nil
	}
}

func asObject(v any) (map[string]any, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("unwrapped %T, want an object", v)
	}
	return o, nil
}

// firstList returns a bare list, the first list under these names, or an empty list.
func firstList(body []byte, noun string) ([]any, error) {
	if noun == "providers" {
		return listUnder(body, "data", "providers", "items")
	}
	return listUnder(body, "data", "secrets", "bindings", "items")
}

func listUnder(body []byte, keys ...string) ([]any, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if list, ok := v.([]any); ok {
		return list, nil
	}
	o, err := asObject(v)
	for _, k := range keys {
		if list, ok := o[k].([]any); ok {
			return list, err
		}
	}
	return []any{}, err
}

// goFields are the fields as declared in Go's SDK: a field of another type is an error.
type goFields struct {
	ID                  string         `json:"id"`
	Name                string         `json:"name"`
	Type                string         `json:"type"`
	Scope               string         `json:"scope"`
	WorkspaceID         string         `json:"workspace_id"`
	OwnerUserID         string         `json:"owner_user_id"`
	ExternalUserID      string         `json:"external_user_id"`
	ExternalWorkspaceID string         `json:"external_workspace_id"`
	ResourceID          string         `json:"resource_id"`
	ResourceType        string         `json:"resource_type"`
	MaskedValue         string         `json:"masked_value"`
	Preview             string         `json:"preview"`
	ExpiresAt           string         `json:"expires_at"`
	CreatedAt           string         `json:"created_at"`
	UpdatedAt           string         `json:"updated_at"`
	OAuthProvider       string         `json:"oauth_provider"`
	Metadata            map[string]any `json:"metadata"`
	SecretID            string         `json:"secret_id"`
	ExposeAsEnv         string         `json:"expose_as_env"`
	PlaceholderToken    string         `json:"placeholder_token"`
	DisplayName         string         `json:"display_name"`
	Scopes              []string       `json:"scopes"`
	AuthorizeURL        string         `json:"authorize_url"`
	State               string         `json:"state"`
	Provider            string         `json:"provider"`
	Status              string         `json:"status"`
	Error               string         `json:"error"`
	Message             string         `json:"message"`
}

// goObject decodes into a struct of structs. A list under data is an error.
func goObject(body []byte) (map[string]any, error) {
	var envelope struct {
		goFields
		Data    *goFields  `json:"data"`
		Secret  *goFields  `json:"secret"`
		Secrets []goFields `json:"secrets"`
		Items   []goFields `json:"items"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, err
	}
	return firstOf("data", "secret")(body)
}

// goList returns the list under secrets, then items, then data if it is the only key. Other lists have their own
// structs.
func goList(body []byte, noun string) ([]any, error) {
	if _, err := goObject(body); err != nil {
		return nil, err
	}
	var typed struct {
		Bindings, Providers []goFields
	}
	if err := json.Unmarshal(body, &typed); err != nil {
		return nil, err
	}
	if noun != "secrets" {
		return listUnder(body, noun)
	}
	if list, err := listUnder(body, "secrets", "items"); len(list) > 0 || err != nil {
		return list, err
	}
	var o map[string]any
	err := json.Unmarshal(body, &o)
	if only, ok := o["data"]; ok {
		return []any{only}, err
	}
	return []any{}, err
}

// texts are the fields that every SDK reads as a string or null.
var texts = []string{"id", "name", "type", "scope", "workspace_id", "owner_user_id", "external_user_id", "external_workspace_id",
	"resource_id", "resource_type", "masked_value", "preview", "expires_at", "created_at", "updated_at", "oauth_provider", "secret_id",
	"expose_as_env", "placeholder_token", "display_name", "authorize_url", "state", "provider", "status", "error", "message"}

// wantTexts checks the types of an object's fields.
func wantTexts(t testing.TB, o map[string]any) {
	t.Helper()
	for _, k := range texts {
		if v, there := o[k]; there && v != nil {
			if _, ok := v.(string); !ok {
				t.Errorf("%s is %T, want a string", k, v)
			}
		}
	}
	if v, there := o["metadata"]; there {
		if _, ok := v.(map[string]any); !ok {
			t.Errorf("metadata is %T, want an object", v)
		}
	}
	if v, there := o["scopes"]; there {
		list, ok := v.([]any)
		if !ok || slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok }) {
			t.Errorf("scopes are %v, want a list of strings", v)
		}
	}
}

// wantSDKError checks the fields from which SDKs build an error: message, code, request id and, for 429, the
// seconds to wait, twice.
func wantSDKError(t testing.TB, a answer, want *api.Kind) {
	t.Helper()
	wantRefusal(t, a, want, "")
	o := decode[map[string]any](t, a)
	for _, k := range []string{"error", "code", "request_id"} {
		if text, ok := o[k].(string); !ok || text == "" {
			t.Errorf("%s is %v", k, o[k])
		}
	}
	// The newest SDKs read these two: the message again, and whether a POST may be repeated.
	if o["message"] != o["error"] {
		t.Errorf("message %v, want %v", o["message"], o["error"])
	}
	if again := want == api.ErrRateLimited || want == api.ErrUnavailable; (o["retryable"] == true) != again {
		t.Errorf("retryable %v, want %v", o["retryable"], again)
	}
	// An error must not look like an envelope to any SDK.
	for _, k := range []string{"data", "secret", "binding", "items", "secrets", "bindings", "providers"} {
		if _, there := o[k]; there {
			t.Errorf("an error contains %s", k)
		}
	}
}
