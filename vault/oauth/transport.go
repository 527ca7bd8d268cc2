package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
)

// dialect sends a token request to an endpoint that differs from RFC 6749. (x/oauth2 can parse form-encoded responses, such
// as GitHub's.)
type dialect func(next http.RoundTripper, r *http.Request) (*http.Response, error)

// client returns c with the dialect.
func (d dialect) client(c *http.Client) *http.Client {
	if d == nil {
		return c
	}
	own := *c
	own.Transport = translator{c.Transport, d}
	return &own
}

type translator struct {
	next    http.RoundTripper
	dialect dialect
}

// RoundTrip implements http.RoundTripper.
func (t translator) RoundTrip(r *http.Request) (*http.Response, error) { return t.dialect(t.next, r) }

// jsonRequest sends the form as a JSON object.
func jsonRequest(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	own := r.Clone(r.Context())
	err := own.ParseForm()
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for name := range own.PostForm {
		fields[name] = own.PostForm.Get(name)
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	own.Header.Set("Content-Type", "application/json")
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	own.Body, own.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return next.RoundTrip(own)
}

// slackResponse moves a user's token, which is in authed_user, to the top level, unless there is a bot's token.
func slackResponse(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	a, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); kind != "application/json" {
		return a, nil
	}
	text, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	if err != nil {
		return nil, err
	}
	var answer, user map[string]json.RawMessage
	if json.Unmarshal(text, &answer) == nil && answer["access_token"] == nil && json.Unmarshal(answer["authed_user"], &user) == nil && user["access_token"] != nil {
		maps.Copy(answer, user)
		text, err = json.Marshal(answer)
	}
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return a, err
}
