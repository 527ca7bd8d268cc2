package vaulttest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Platform configures a server that behaves like MIOSA's platform, which has no agent API.
type Platform struct {
	Reveal   Refusal // the response to a reveal; the zero Refusal: 404
	Bindings Refusal // the response to a list of bindings; the zero Refusal: the list
	Tokens   bool    // bindings have a placeholder_token
	Preview  bool    // bindings have a placeholder_preview
}

// Refusal is an error of the platform.
type Refusal struct {
	Status int
	Code   string
}

// traffic is the platform's audit, the newest first: requests of sandboxes two days ago.
func traffic() []map[string]any {
	at := time.Now().UTC().Add(-48 * time.Hour)
	event := func(n int, more map[string]any) map[string]any {
		more["id"], more["resource_id"], more["resource_type"] = n, "sb_1", "sandbox"
		more["inserted_at"] = at.Add(time.Duration(n) * time.Second).Format("2006-01-02T15:04:05") // Ecto's times have no zone
		return more
	}
	return []map[string]any{
		event(3, map[string]any{"action": "allowed", "host": "example.org", "method": "GET", "path": "/", "status_code": 204, "effect": "allow"}),
		event(2, map[string]any{"action": "denied", "host": "example.com", "method": "POST", "path": "/upload", "status_code": 403, "effect": "deny",
			"policy_id": "pol_1", "rule_id": "rul_1"}),
		event(1, map[string]any{"action": "allowed", "host": "api.github.com", "method": "GET", "path": "/user", "status_code": 200, "effect": "allow",
			"external_user_id": "u_1", "metadata": map[string]any{"bytes": 12}}),
	}
}

// platformFields are the fields of secrets and bindings in the SDKs and in the platform's answers.
var platformFields = map[string]bool{
	"id": true, "name": true, "type": true, "scope": true, "workspace_id": true, "owner_user_id": true, "external_user_id": true,
	"external_workspace_id": true, "resource_id": true, "resource_type": true, "masked_value": true, "expires_at": true, "metadata": true,
	"created_at": true, "oauth_provider": true, "secret_id": true, "expose_as_env": true, "display_name": true, "scopes": true,
}

// Platform starts a server in front of s that behaves like MIOSA's platform: lists are under data, filters are ignored,
// errors are nested, answers to deletions have no body, and calls and fields that SDKs lack are missing. It returns the
// base URL.
func (s *Server) Platform(t testing.TB, p Platform) string {
	t.Helper()
	if p.Reveal.Status == 0 {
		p.Reveal = Refusal{http.StatusNotFound, "NOT_FOUND"}
	}
	events := traffic()
	var audits atomic.Int32
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, _ = strings.Cut(strings.TrimSuffix(s.BaseURL, "/api/v1"), "://")
			r.Out.URL.RawQuery = "" // the platform has no filters
		},
		Transport:      s.client.Transport,
		ModifyResponse: p.translate,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v1/egress")
		switch {
		case path == "/bindings/reveal":
			p.Reveal.write(w)
		case path == "/bindings" && r.Method == http.MethodGet && p.Bindings.Status != 0:
			p.Bindings.write(w)
		case path == "/oauth/status", strings.HasPrefix(path, "/resource-keys"), strings.HasPrefix(path, "/keys"):
			Refusal{http.StatusNotFound, "NOT_FOUND"}.write(w)
		case path == "/audit":
			events := events
			if audits.Add(1) < 3 {
				events = events[1:] // the newest event is later than that
			}
			audit(w, r.URL.Query(), events)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/api/v1"
}

func audit(w http.ResponseWriter, q url.Values, events []map[string]any) {
	for _, bound := range []string{q.Get("since"), q.Get("until")} {
		_, err := time.Parse(time.RFC3339, bound)
		if _, isAgo := api.ParseAgo(bound); err != nil && bound != "" && !isAgo {
			Refusal{http.StatusUnprocessableEntity, "INVALID"}.write(w)
			return
		}
	}
	writeAs(w, http.StatusOK, map[string]any{"data": events})
}

// translate turns an answer of the vault into the platform's.
func (p Platform) translate(answer *http.Response) error {
	var said, translated map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return err
	}
	_ = answer.Body.Close()
	switch {
	case answer.StatusCode >= 400:
		translated = map[string]any{"error": map[string]any{
			"code": said["code"], "message": said["error"], "retryable": said["retryable"] == true, "details": map[string]any{},
		}}
	case answer.Request.Method == http.MethodDelete:
		answer.StatusCode = http.StatusNoContent
	case said["authorize_url"] != nil:
		translated = map[string]any{"authorize_url": said["authorize_url"], "state": said["state"]}
	default:
		translated = map[string]any{"data": p.reduce(said)}
	}
	var text []byte
	if translated != nil {
		var err error
		if text, err = json.Marshal(translated); err != nil {
			return err
		}
	}
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	answer.ContentLength, answer.Body = int64(len(text)), io.NopCloser(bytes.NewReader(text))
	return nil
}

// reduce returns an answer without its envelope and the fields that the platform lacks.
func (p Platform) reduce(said map[string]any) any {
	for _, name := range []string{"secrets", "bindings", "providers"} {
		list, ok := said[name].([]any)
		if !ok {
			continue
		}
		for i := range list {
			list[i] = p.object(list[i].(map[string]any))
		}
		return list
	}
	return p.object(said["data"].(map[string]any))
}

func (p Platform) object(o map[string]any) map[string]any {
	kept := map[string]any{}
	for name, value := range o {
		if platformFields[name] || name == "placeholder_token" && p.Tokens {
			kept[name] = value
		}
	}
	if token, ok := o["placeholder_token"].(string); ok && p.Preview {
		kept["placeholder_preview"] = token[:12] + "..."
	}
	return kept
}

func (r Refusal) write(w http.ResponseWriter) {
	writeAs(w, r.Status, map[string]any{"error": map[string]any{"code": r.Code, "message": http.StatusText(r.Status)}})
}

func writeAs(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
