package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
	"github.com/google/go-cmp/cmp"
)

// flows returns a flow whose status is answered with each of answers in turn, and then with the last one. A poll
// that fails is given up after patience, and the wait continues.
func flows(t *testing.T, patience time.Duration, answers ...string) *secrets.Flow {
	t.Helper()
	var mu sync.Mutex // guards answers
	c, _ := serve(t, patience, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		mu.Unlock()
		status, refused := map[string]int{"401": 401, "404": 404, "429": 429, "500": 500, "503": 503}[answer]
		switch {
		case answer == "cut off":
			panic(http.ErrAbortHandler)
		case refused:
			answerJSON(w, status, api.ErrorBody{Error: "refused", RetryAfter: map[int]float64{429: 1.2}[status]})
		case r.URL.RequestURI() != "/api/v1/egress/oauth/status?state="+canaryState:
			answerJSON(w, 404, api.ErrorBody{Error: "no such flow"})
		default:
			_, _ = io.WriteString(jsonTo(w), answer)
		}
	})
	flow := c.Resume(canaryState)
	flow.Provider = "github"
	return flow
}

const (
	pending   = `{"status":"pending","provider":"github"}`
	completed = `{"status":"completed","provider":"github","secret_id":"sec_1"}`
)

func TestConnect(t *testing.T) {
	c, _ := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			answerJSON(w, 200, map[string]string{"authorize_url": "https://p.example/a", "state": canaryState, "expires_at": "2030-01-02T03:04:05Z"})
			return
		}
		_, _ = io.WriteString(jsonTo(w), pending)
	})
	flow, err := c.Connect(t.Context(), "github", secrets.Connect{})
	if err != nil {
		t.Fatal(err)
	}
	if flow.AuthorizeURL != "https://p.example/a" || flow.State != canaryState || flow.Provider != "github" ||
		!flow.ExpiresAt.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("flow %s until %s", flow.AuthorizeURL, flow.ExpiresAt)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", flow, flow, flow, flow); strings.Contains(text, canaryState) {
		t.Errorf("%q shows the state", text)
	}
	if got, err := flow.Status(t.Context()); err != nil || got.Status != api.FlowPending {
		t.Errorf("error %v, status %+v", err, got)
	}
}

func TestWaitForCompletion(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []string
		want    secrets.FlowStatus // if it succeeds
		message string             // of the *FlowError
		kind    error              // of another error
	}{
		{name: "at once", answers: []string{completed}, want: secrets.FlowStatus{Status: "completed", Provider: "github", SecretID: "sec_1"}},
		{name: "after a while", answers: []string{pending, pending, completed}, want: secrets.FlowStatus{Status: "completed", Provider: "github", SecretID: "sec_1"}},
		{name: "under data", answers: []string{`{"data":{"status":"completed","secret_id":"sec_1"}}`}, want: secrets.FlowStatus{Status: "completed", SecretID: "sec_1"}},
		{name: "another word for completed", answers: []string{`{"status":"succeeded"}`}, want: secrets.FlowStatus{Status: "completed"}},
		{name: "a word we don't know", answers: []string{`{"status":"thinking"}`, completed}, want: secrets.FlowStatus{Status: "completed", Provider: "github", SecretID: "sec_1"}},
		{name: "failures that pass", answers: []string{pending, "503", "500", "429", "cut off", pending, "503", completed},
			want: secrets.FlowStatus{Status: "completed", Provider: "github", SecretID: "sec_1"}},
		{name: "denied", answers: []string{pending, `{"status":"denied","error":"access_denied"}`}, message: "connecting an account at github was denied: access_denied"},
		{name: "expired", answers: []string{`{"status":"failed","error":"expired","message":"nobody came in time: start again"}`},
			message: "connecting an account at github failed: nobody came in time: start again"},
		{name: "another word for failed", answers: []string{`{"status":"error"}`}, message: "connecting an account at github failed"},
		{name: "no such flow", answers: []string{pending, "404"}, kind: api.ErrNotFound},
		{name: "the key is revoked", answers: []string{pending, "401"}, kind: api.ErrUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flow := flows(t, 40*time.Millisecond, tt.answers...)
			got, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: 20 * time.Second, PollInterval: time.Millisecond})
			switch ended, failed := errors.AsType[*secrets.FlowError](err); {
			case tt.kind != nil:
				if !errors.Is(err, tt.kind) || failed || errors.Is(err, secrets.ErrFlowTimeout) {
					t.Errorf("error %v, want %v", err, tt.kind)
				}
			case tt.message != "":
				if !failed || err.Error() != tt.message || cmp.Diff(got, ended.Status) != "" || got.Status != api.FlowFailed && got.Status != api.FlowDenied {
					t.Errorf("error %v with %+v, want %q", err, got, tt.message)
				}
			default:
				if diff := cmp.Diff(got, tt.want); err != nil || diff != "" {
					t.Errorf("error %v, status (-got +want):\n%s", err, diff)
				}
			}
		})
	}
}

func TestWaitTimesOut(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		also         error
	}{
		{"pending", pending, nil},
		{"out of reach", "503", api.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flow := flows(t, 40*time.Millisecond, tt.answer)
			_, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{Timeout: time.Second, PollInterval: 10 * time.Millisecond})
			if !errors.Is(err, secrets.ErrFlowTimeout) || tt.also != nil && !errors.Is(err, tt.also) || strings.Contains(err.Error(), canaryState) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// When the caller's context ends, WaitForCompletion returns its error.
func TestWaitEndsWithItsContext(t *testing.T) {
	flow := flows(t, time.Minute, pending)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := flow.WaitForCompletion(ctx, secrets.WaitOptions{PollInterval: time.Hour})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, secrets.ErrFlowTimeout) {
		t.Errorf("error %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := flow.WaitForCompletion(ended, secrets.WaitOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// The wait honors a delay that the vault asks for.
func TestWaitIsAsPatientAsAsked(t *testing.T) {
	flow := flows(t, time.Second, "429", completed)
	began := time.Now()
	if _, err := flow.WaitForCompletion(t.Context(), secrets.WaitOptions{PollInterval: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 1200*time.Millisecond {
		t.Errorf("asked again after %s, want 1.2s", took)
	}
}

func TestResume(t *testing.T) {
	var asked string
	c, _ := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("state")
		_, _ = io.WriteString(jsonTo(w), completed)
	})
	got, err := c.Resume("st&1").WaitForCompletion(t.Context(), secrets.WaitOptions{})
	if err != nil || got.SecretID != "sec_1" || asked != "st&1" {
		t.Errorf("error %v, status %+v of state %q", err, got, asked)
	}
}
