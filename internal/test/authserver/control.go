package authserver

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Mode is a fault of the server.
type Mode string

// Faults.
const (
	Refuse    Mode = "refuse" // responds to a token request with 503, without an effect
	FailAfter Mode = "fail"   // performs a token request, and responds with 500
	DropAfter Mode = "drop"   // performs a token request, and closes the connection
	Delay     Mode = "delay"  // responds to a token request after so many milliseconds
	WrongIss  Mode = "iss"    // sends the browser back with another issuer
	NoIss     Mode = "no iss" // sends the browser back without an issuer
	Leave     Mode = "leave"  // sends the browser back, and exits; see Restart
)

// Break sets a fault for the next so many requests, instead of the previous one. value is the milliseconds of Delay or the
// issuer of WrongIss. times 0 means no fault.
func (s *Server) Break(t testing.TB, mode Mode, times int, value string) {
	t.Helper()
	s.control(t, http.MethodPost, url.Values{
		"mode": {string(mode)}, "times": {strconv.Itoa(times)}, "value": {value},
	})
}

// AllowRedirect adds a redirect URI to the clients Basic and Post.
func (s *Server) AllowRedirect(t testing.TB, uri string) {
	t.Helper()
	s.Redirects = append(s.Redirects, uri)
	s.control(t, http.MethodPost, url.Values{"redirect": {uri}})
}

// Requests returns the number of token requests of a grant type since the server was started, successful or not:
// "authorization_code", "refresh_token", "client_credentials"; "refused" is the number of requests that Refuse affected.
func (s *Server) Requests(t testing.TB, grant string) int {
	t.Helper()
	return s.control(t, http.MethodGet, nil)[grant]
}

// UserInfo returns the subject of an access token. status is 200 if the token is valid.
func (s *Server) UserInfo(t testing.TB, token string) (status int, subject string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Issuer+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	var about struct{ Sub string }
	return send(t, request, &about), about.Sub
}

// Active reports whether a token of a client is valid. It authenticates as the client, with its secret in the header.
func (s *Server) Active(t testing.TB, c Client, token string) bool {
	t.Helper()
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Issuer+"/token/introspection", form)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	var about struct{ Active bool }
	if status := send(t, request, &about); status != http.StatusOK {
		t.Fatalf("introspection: status %d", status)
	}
	return about.Active
}

func (s *Server) control(t testing.TB, method string, query url.Values) (counts map[string]int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.Issuer+"/control?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := send(t, request, &counts); status != http.StatusOK {
		t.Fatalf("control: status %d", status)
	}
	return counts
}

// send sends a request on a new connection, and decodes a JSON response.
func send(t testing.TB, request *http.Request, answer any) (status int) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	request.Close = true
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil && response.StatusCode == http.StatusOK {
		t.Fatal(err)
	}
	return response.StatusCode
}
