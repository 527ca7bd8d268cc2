package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
)

// connects starts a server that has all of the vault, and OAuth flows that end so at the second look, or
// never.
func (s *scriptVault) connects(end string) string {
	target, err := url.Parse(s.BaseURL)
	if err != nil {
		s.tb.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	var looks atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, call, found := strings.Cut(r.URL.Path, "/egress/oauth/")
		if !found {
			proxy.ServeHTTP(w, r)
			return
		}
		answer := map[string]any{}
		switch call {
		case "providers":
			answer["providers"] = []map[string]any{{"name": "github", "display_name": "GitHub", "scopes": []string{"repo", "read:org"}}}
		case "start":
			answer["authorize_url"], answer["state"], answer["provider"] = "https://github.example/login/oauth/authorize?client_id=c&state=s_1", "s_1", "github"
			answer["expires_at"] = "2099-01-02T03:04:05Z"
		case "status":
			answer["status"], answer["provider"] = "pending", "github"
			if looks.Add(1) > 1 && end != "never" {
				answer["status"] = end
				switch end {
				case "completed":
					answer["secret_id"] = "sec_1"
				case "denied":
					answer["error"], answer["message"] = "access_denied", "the user said no"
				case "failed":
					answer["error"] = "expired"
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	s.tb.Cleanup(server.Close)
	return server.URL + target.Path
}
