package fetch_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/google/go-cmp/cmp"
)

// The message of an error is shown whatever its form, but nothing that was sent in the request.
func TestFormsOfErrors(t *testing.T) {
	const own = "the vault at HOST answered status 422 without saying why"
	for _, tt := range []struct {
		name, body string
		message    string
		code, id   string
	}{
		{"flat", `{"error":"name is required","code":"INVALID","request_id":"req_1"}`, "name is required", "INVALID", "req_1"},
		{"nested", `{"error":{"code":"VALIDATION_FAILED","message":"name is required","request_id":"req_1"}}`, "name is required", "VALIDATION_FAILED", "req_1"},
		{"nested, the id beside it", `{"error":{"code":"X","message":"name is required"},"request_id":"req_1"}`, "name is required", "X", "req_1"},
		{"details by field", `{"error":{"code":"X","message":"not valid","details":{"name":["can't be blank","is odd"],"expose_as_env":["is taken"]}}}`,
			"not valid: expose_as_env is taken; name can't be blank, is odd", "X", ""},
		{"details as a list", `{"error":{"code":"X","message":"not valid","details":[{"message":"name can't be blank"},"and more"]}}`, "not valid: name can't be blank, and more", "X", ""},
		{"details that say nothing", `{"error":{"code":"X","message":"not valid","details":{"count":3,"more":null}}}`, "not valid", "X", ""},
		{"message beside a code", `{"code":"X","message":"name is required"}`, "name is required", "X", ""},
		{"Phoenix's own", `{"errors":{"detail":"the name is taken"}}`, "the name is taken", "", ""},
		{"Phoenix's own, which says no more than the status", `{"errors":{"detail":"Unprocessable Entity"}}`, own, "", ""},
		{"a changeset", `{"errors":{"name":["can't be blank"]}}`, "name can't be blank", "", ""},
		{"problem details", `{"title":"Invalid","detail":"name is required","status":422}`, "name is required", "", ""},
		{"problem details without one", `{"title":"Name is required","status":422}`, "Name is required", "", ""},
		{"OAuth's", `{"error":"invalid_request","error_description":"name is required"}`, "name is required", "", ""},
		{"a code for a sentence", `{"error":"NAME_TAKEN"}`, own + " (NAME_TAKEN)", "NAME_TAKEN", ""},
		{"a code for a sentence, and another", `{"error":{"code":"X","message":"NAME_TAKEN"}}`, own + " (X)", "X", ""},
		{"a message under a null error", `{"error":null,"message":"name is required"}`, "name is required", "", ""},
		{"a code alone", `{"error":{"code":"NAME_TAKEN"}}`, own + " (NAME_TAKEN)", "NAME_TAKEN", ""},
		{"another type", `{"error":17,"code":{"a":1}}`, own, "", ""},
		{"an empty object", `{}`, own, "", ""},
		{"a list", `[{"message":"x"}]`, own, "", ""},
		{"deep", `{"errors":{"a":{"b":{"c":{"d":"x"}}}}}`, own, "", ""},
		{"the value in the message", `{"error":{"code":"X","message":"canary is odd"}}`, own + " (X)", "X", ""},
		{"the value in the details", `{"error":{"code":"X","message":"not valid","details":{"value":["canary is odd"]}}}`, "not valid", "X", ""},
		{"the value in the code", `{"error":{"code":"canary","message":"not valid"}}`, "not valid", "", ""},
		{"control characters", `{"error":{"code":"X\u001b[2J","message":"not\u001b[2J valid\nat all"}}`, "not [2J valid at all", "X [2J", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.WriteHeader(422)
				_, _ = io.WriteString(w, tt.body)
			})
			_, err := client(t, vault.URL).RotateSecret(t.Context(), "sec_1", fetch.Rotation{Value: api.NewValue([]byte("canary"))})
			refused, ok := errors.AsType[*api.Error](err)
			if !ok || !errors.Is(err, api.ErrInvalid) {
				t.Fatalf("error %v", err)
			}
			want := strings.ReplaceAll(tt.message, "HOST", strings.TrimPrefix(vault.URL, "http://"))
			if diff := cmp.Diff([]string{err.Error(), refused.Code, refused.RequestID}, []string{want, tt.code, tt.id}); diff != "" {
				t.Errorf("message, code and id (-got +want):\n%s", diff)
			}
		})
	}
}

// The hint for a refusal in an unknown form states at least its status.
func TestHintsOfRefusals(t *testing.T) {
	for _, tt := range []struct {
		status     int
		retryAfter string
		hint       string
	}{
		{429, "", "try again later"},
		{429, "90", "try again in 1m30s"},
		{418, "", "HOST answered status 418"},
		{402, "", "HOST answered status 402"},
		{422, "", ""},
	} {
		t.Run(strings.TrimSpace(http.StatusText(tt.status)+" "+tt.retryAfter), func(t *testing.T) {
			vault := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tt.retryAfter)
				answerJSON(w, tt.status, map[string]string{"error": "no"})
			})
			_, err := client(t, vault.URL, within(100*time.Millisecond)).Bindings(t.Context(), fetch.BindingFilter{})
			problem, ok := errors.AsType[*fetch.Problem](err)
			hint := strings.ReplaceAll(tt.hint, "HOST", strings.TrimPrefix(vault.URL, "http://"))
			if !ok || err.Error() != "no" || !strings.Contains(problem.Fix, hint) || (problem.Fix == "") != (hint == "") {
				t.Errorf("error %v, hint %q, want %q", err, problem.Fix, hint)
			}
		})
	}
}

// If a field has the wrong type, the error names the field and repeats nothing of the body.
func TestFieldsOfAnotherType(t *testing.T) {
	for _, body := range []string{`{"data":[{"id":"b","version":"canary"}]}`, `[{"id":"a"},{"id":"b","version":{"canary":1}}]`} {
		_, err := client(t, serveBody(t, body).URL).Bindings(t.Context(), fetch.BindingFilter{})
		if want := "the vault's answer isn't in the contract's form: version is of another type"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Items that do not match the filter are removed, because some vaults ignore filters.
func TestListsAreFiltered(t *testing.T) {
	vault := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		list := []any{
			map[string]any{"id": "sec_1", "type": "oauth_connect", "scope": "user", "owner_user_id": "u_1"},
			map[string]any{"id": "sec_2", "type": "api_key", "scope": "user", "owner_user_id": "u_1"},
			map[string]any{"id": "sec_3", "type": "oauth_connect", "scope": "user", "owner_user_id": "u_2"},
			map[string]any{"id": "sec_4", "type": "oauth_connect", "scope": "user"}, // without an owner
		}
		if strings.HasSuffix(r.URL.Path, "/bindings") {
			list = []any{
				map[string]any{"id": "bnd_1", "secret_id": "sec_1", "resource_id": "sb_1", "resource_type": "sandbox"},
				map[string]any{"id": "bnd_2", "secret_id": "sec_2", "resource_id": "sb_1", "resource_type": "sandbox"},
				map[string]any{"id": "bnd_3", "secret_id": "sec_1", "resource_id": "sb_1", "resource_type": "computer"},
				map[string]any{"id": "bnd_4", "secret_id": "sec_1", "resource_id": "sb_2", "resource_type": "sandbox"},
			}
		}
		answerJSON(w, 200, map[string]any{"data": list})
	})
	c := client(t, vault.URL)
	ids := []string{}
	secrets, err := c.Secrets(t.Context(), fetch.SecretFilter{Type: "oauth_connect", OwnerUserID: "u_1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		ids = append(ids, s.ID)
	}
	bindings, err := c.Bindings(t.Context(), fetch.BindingFilter{Resource: sandbox, SecretID: "sec_1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings {
		ids = append(ids, b.ID)
	}
	if diff := cmp.Diff(ids, []string{"sec_1", "sec_4", "bnd_1"}); diff != "" {
		t.Errorf("ids (-got +want):\n%s", diff)
	}
}
