package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/google/go-cmp/cmp"
)

// The table in docs/api.md, "Errors", repeated here so that a change of either is detected.
func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		kind      *api.Kind
		status    int
		code      string
		temporary bool
	}{
		{api.ErrMalformed, 400, "MALFORMED", false},
		{api.ErrUnauthorized, 401, "UNAUTHORIZED", false},
		{api.ErrDenied, 403, "FORBIDDEN", false},
		{api.ErrNotFound, 404, "NOT_FOUND", false},
		{api.ErrMethod, 405, "METHOD_NOT_ALLOWED", false},
		{api.ErrConflict, 409, "CONFLICT", false},
		{api.ErrTooLarge, 413, "TOO_LARGE", false},
		{api.ErrInvalid, 422, "INVALID", false},
		{api.ErrRateLimited, 429, "RATE_LIMITED", true},
		{api.ErrInternal, 500, "INTERNAL", true},
		{api.ErrUnavailable, 503, "UNAVAILABLE", true},
	} {
		t.Run(tt.code, func(t *testing.T) {
			if tt.kind.Status != tt.status || tt.kind.Code != tt.code || tt.kind.Error() != tt.code {
				t.Errorf("row is %d %s", tt.kind.Status, tt.kind.Code)
			}
			if api.KindOf(tt.status) != tt.kind {
				t.Errorf("status %d reads back as %v", tt.status, api.KindOf(tt.status))
			}
			if !slices.Contains(api.Kinds, tt.kind) {
				t.Error("not in Kinds")
			}
			wrapped := fmt.Errorf("list bindings: %w", api.NewError(tt.kind, "a sentence"))
			if !errors.Is(wrapped, tt.kind) || api.Temporary(wrapped) != tt.temporary {
				t.Errorf("wrapped: is = %v, temporary = %v, want %v", errors.Is(wrapped, tt.kind), api.Temporary(wrapped), tt.temporary)
			}
			for _, other := range api.Kinds {
				if other != tt.kind && errors.Is(wrapped, other) {
					t.Errorf("is also %v", other)
				}
			}
			if got := wrapped.Error(); got != "list bindings: a sentence" {
				t.Errorf("prints %q", got)
			}
		})
	}
	if len(api.Kinds) != 11 || !slices.IsSortedFunc(api.Kinds, func(a, b *api.Kind) int { return a.Status - b.Status }) {
		t.Error("Kinds differs from the table in order of status")
	}
}

func TestKindOfOtherStatuses(t *testing.T) {
	for status := 400; status < 600; status++ {
		if slices.ContainsFunc(api.Kinds, func(k *api.Kind) bool { return k.Status == status }) {
			continue
		}
		want := api.ErrMalformed
		if status >= 500 {
			want = api.ErrUnavailable
		}
		if got := api.KindOf(status); got != want {
			t.Errorf("status %d (%s) is %v, want %v", status, http.StatusText(status), got, want)
		}
	}
}

func TestTemporaryOfOthers(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), api.ErrTampered, api.ErrNotModified, api.ErrMalformedKey} {
		if api.Temporary(err) {
			t.Errorf("%v is temporary", err)
		}
	}
}

// The vault's retryable field takes precedence over the status, except for refused keys.
func TestTemporaryAsTheVaultSays(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		kind      *api.Kind
		retryable *bool
		want      bool
	}{
		{api.ErrUnavailable, &no, false}, {api.ErrRateLimited, &no, false}, {api.ErrConflict, &yes, true}, {api.ErrInternal, &yes, true},
		{api.ErrUnauthorized, &yes, false}, {api.ErrDenied, &yes, false}, {api.ErrConflict, nil, false}, {api.ErrUnavailable, nil, true},
	} {
		err := fmt.Errorf("list: %w", &api.Error{Kind: tt.kind, Retryable: tt.retryable})
		if got := api.Temporary(err); got != tt.want {
			t.Errorf("%s, retryable %v: temporary = %v, want %v", tt.kind.Code, tt.retryable, got, tt.want)
		}
	}
}

func TestOutOfScope(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("x: %w", &api.Error{Kind: api.ErrDenied, Code: api.CodeMachineScope}), true},
		{&api.Error{Kind: api.ErrDenied, Code: api.ErrDenied.Code}, false},
		{&api.Error{Kind: api.ErrUnauthorized, Code: api.CodeMachineScope}, false},
		{errors.New(api.CodeMachineScope), false},
		{nil, false},
	} {
		if got := api.OutOfScope(tt.err); got != tt.want {
			t.Errorf("%v: out of scope = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestErrorBody(t *testing.T) {
	for _, tt := range []struct {
		name string
		body api.ErrorBody
		want string
	}{
		{"plain", api.ErrorBody{Error: "no such secret", Code: "NOT_FOUND", RequestID: "req_1"},
			`{"error":"no such secret","code":"NOT_FOUND","request_id":"req_1"}`},
		{"with a pause", api.ErrorBody{Error: "slow down", Code: "RATE_LIMITED", RequestID: "req_2", RetryAfter: 1.5},
			`{"error":"slow down","code":"RATE_LIMITED","request_id":"req_2","retry_after":1.5}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(got), tt.want); diff != "" {
				t.Errorf("body (-got +want):\n%s", diff)
			}
		})
	}
}
