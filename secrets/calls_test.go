package secrets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/secrets"
)

const (
	canaryValue   = "canary-value-0123456789"
	canaryRefresh = "canary-refresh-0123456789"
	canaryState   = "canary-state-0123456789"
)

var sandbox = secrets.Sandbox("sb_1")

// calls returns every method that sends a request, with secret arguments that must not appear in an error.
func calls(c *secrets.Client) map[string]func(context.Context) error {
	v := c.ForSandbox("sb_1")
	set := secrets.Set{Name: "n", Value: secrets.Text(canaryValue), RefreshToken: secrets.Text(canaryRefresh)}
	rotation := secrets.Rotation{Value: secrets.Text(canaryValue), RefreshToken: secrets.Text(canaryRefresh)}
	return map[string]func(context.Context) error{
		"Set":           func(ctx context.Context) error { _, _, err := c.Set(ctx, set); return err },
		"List":          func(ctx context.Context) error { _, err := c.List(ctx, secrets.Filter{}); return err },
		"Get":           func(ctx context.Context) error { _, err := c.Get(ctx, "sec_1"); return err },
		"Rotate":        func(ctx context.Context) error { _, err := c.Rotate(ctx, "sec_1", rotation); return err },
		"Delete":        func(ctx context.Context) error { return c.Delete(ctx, "sec_1") },
		"CreateBinding": func(ctx context.Context) error { _, err := c.CreateBinding(ctx, secrets.NewBinding{}); return err },
		"ListBindings":  func(ctx context.Context) error { _, err := c.ListBindings(ctx, secrets.BindingFilter{}); return err },
		"DeleteBinding": func(ctx context.Context) error { return c.DeleteBinding(ctx, "bnd_1") },
		"Providers":     func(ctx context.Context) error { _, err := c.Providers(ctx); return err },
		"Connect":       func(ctx context.Context) error { _, err := c.Connect(ctx, "github", secrets.Connect{}); return err },
		"Status":        func(ctx context.Context) error { _, err := c.Resume(canaryState).Status(ctx); return err },
		"CreateKey":     func(ctx context.Context) error { _, err := c.CreateKey(ctx, sandbox, nil); return err },
		"ListKeys":      func(ctx context.Context) error { _, err := c.ListKeys(ctx, secrets.Resource{}); return err },
		"RevokeKey":     func(ctx context.Context) error { return c.RevokeKey(ctx, "key_1") },
		"Keys":          func(ctx context.Context) error { _, err := c.Keys(ctx, secrets.Resource{}); return err },
		"IssueKey":      func(ctx context.Context) error { _, err := c.IssueKey(ctx, secrets.KeyRequest{}); return err },
		"ReplaceKey":    func(ctx context.Context) error { _, err := c.ReplaceKey(ctx, "key_1", 0, nil); return err },
		"RevokeKeyTree": func(ctx context.Context) error { _, err := c.RevokeKeyTree(ctx, "key_1", ""); return err },
		"RevokeBefore":  func(ctx context.Context) error { _, err := c.RevokeKeysBefore(ctx, time.Now()); return err },
		"Policies":      func(ctx context.Context) error { _, err := c.Policies(ctx); return err },
		"SetPolicy":     func(ctx context.Context) error { _, err := c.SetPolicy(ctx, api.PolicyRequest{}); return err },
		"DeletePolicy":  func(ctx context.Context) error { return c.DeletePolicy(ctx, "pol_1") },
		"Allowlist":     func(ctx context.Context) error { _, err := c.Allowlist(ctx); return err },
		"AddEntry":      func(ctx context.Context) error { _, err := c.AddEntry(ctx, api.NewAllowlistEntry{}); return err },
		"DeleteEntry":   func(ctx context.Context) error { return c.DeleteEntry(ctx, "rul_1") },
		"Suggestions":   func(ctx context.Context) error { _, err := c.Suggestions(ctx, sandbox, nil); return err },
		"Audit":         func(ctx context.Context) error { _, _, err := c.Audit(ctx, secrets.AuditFilter{}); return err },
		"AuditEvent":    func(ctx context.Context) error { _, err := c.AuditEvent(ctx, "evt_1"); return err },
		"AuditAll":      func(ctx context.Context) error { return lastError(c.AuditAll(ctx, secrets.AuditFilter{})) },
		"view's Set":    func(ctx context.Context) error { _, _, err := v.Set(ctx, set); return err },
		"view's Audit":  func(ctx context.Context) error { return lastError(v.AuditAll(ctx, secrets.AuditFilter{})) },
	}
}

func lastError(events func(func(secrets.Event, error) bool)) (last error) {
	for _, err := range events {
		last = err
	}
	return last
}

// serve starts a server and returns a client of it with a timeout.
func serve(t *testing.T, timeout time.Duration, answer http.HandlerFunc) (*secrets.Client, api.Key) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	key := api.NewKey(api.TenantKeyPrefix)
	c, err := secrets.New(secrets.Config{BaseURL: s.URL, Key: key, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, key
}

// jsonTo sets the content type to JSON.
func jsonTo(w http.ResponseWriter) http.ResponseWriter {
	w.Header().Set("Content-Type", "application/json")
	return w
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	jsonTo(w).WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// Each status maps to its error kind in every call, and no error repeats a secret of the request, whatever the
// vault answers.
func TestErrorsAreTheirKindAndSayNothingSecret(t *testing.T) {
	for _, kind := range api.Kinds {
		c, key := serve(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			text := fmt.Sprintln("can't take", string(body), r.URL, r.Header)
			w.Header().Set("Retry-After", "3600") // longer than the client waits, so that it sends one request
			answerJSON(w, kind.Status, api.ErrorBody{Error: text, Code: text, RequestID: text})
		})
		for name, call := range calls(c) {
			t.Run(kind.Code+" "+name, func(t *testing.T) {
				err := call(t.Context())
				if !errors.Is(err, kind) {
					t.Fatalf("error %v, want %v", err, kind)
				}
				wantNoSecrets(t, err, key)
			})
		}
	}
}

// wantNoSecrets checks that neither an error nor one that it wraps contains secrets of the request.
func wantNoSecrets(t *testing.T, err error, key api.Key) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, secret := range []string{canaryValue, canaryRefresh, canaryState, key.Reveal()} {
			if strings.Contains(text, secret) {
				t.Errorf("%q repeats what was sent", text)
			}
		}
	}
}

// Responses that do not come from a vault, and missing ones, are errors in every call, without secrets.
func TestBadAnswers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"broken JSON": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(jsonTo(w), `{"data":`)
		},
		"cut off":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		c, key := serve(t, 40*time.Millisecond, answer)
		for what, call := range calls(c) {
			t.Run(name+" "+what, func(t *testing.T) {
				err := call(t.Context())
				// The response to a deletion is only its status.
				if deletes := strings.HasPrefix(what, "Delete") || strings.HasPrefix(what, "Revoke"); err == nil && !(deletes && name == "broken JSON") {
					t.Error("no error")
				}
				wantNoSecrets(t, err, key)
			})
		}
	}
}

// Every call ends with its context: at once if the context has ended before, otherwise while the vault keeps it
// waiting.
func TestCancellation(t *testing.T) {
	asked := make(chan struct{}, 1)
	c, _ := serve(t, time.Minute, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices the client's disconnect
		asked <- struct{}{}
		<-r.Context().Done()
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(c) {
		t.Run(name, func(t *testing.T) {
			if err := call(ended); !errors.Is(err, context.Canceled) {
				t.Errorf("before it begins: error %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := make(chan error, 1)
			go func() { got <- call(ctx) }()
			<-asked
			cancel()
			select {
			case err := <-got:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("in progress: error %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it didn't end")
			}
		})
	}
}
