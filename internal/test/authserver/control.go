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

// Mode is a way in which the server goes wrong.
type Mode string

// The ways in which the server goes wrong.
const (
	Refuse    Mode = "refuse" // answers a token request with 503, having done nothing
	FailAfter Mode = "fail"   // does what a token request asks, and answers 500
	DropAfter Mode = "drop"   // does what a token request asks, and closes the connection
	Delay     Mode = "delay"  // answers a token request only after so many milliseconds
	WrongIss  Mode = "iss"    // sends the browser back with another issuer
	NoIss     Mode = "no iss" // sends the browser back without an issuer
	Leave     Mode = "leave"  // sends the browser back, and ends; see Restart
)

// Break makes the server go wrong the next so many times. value is what the mode needs: the
// milliseconds of Delay, the issuer of WrongIss. It replaces what was asked before; times 0 mends.
func (s *Server) Break(t testing.TB, mode Mode, times int, value string) {
	t.Helper()
	s.control(t, http.MethodPost, url.Values{
		"mode": {string(mode)}, "times": {strconv.Itoa(times)}, "value": {value},
	})
}

// AllowRedirect adds a redirect URI to those of the clients Basic and Post.
func (s *Server) AllowRedirect(t testing.TB, uri string) {
	t.Helper()
	s.settings.Redirects = append(s.settings.Redirects, uri)
	s.control(t, http.MethodPost, url.Values{"redirect": {uri}})
}

// Requests tells how many token requests of a grant type were answered since the server was last
// started, whether with a token or with an error: "authorization_code", "refresh_token",
// "client_credentials"; "refused" counts those that Refuse met.
func (s *Server) Requests(t testing.TB, grant string) int {
	t.Helper()
	return s.control(t, http.MethodGet, nil)[grant]
}

// UserInfo asks the server whom an access token is of. status is 200 for a token that is good.
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

// Active asks the server, as a client that sends its secret in the header, whether a token of that
// client is good.
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

// send makes one request on a connection of its own, and decodes the answer where it is JSON.
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
