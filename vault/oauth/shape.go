package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// shape is how a token endpoint differs from RFC 6749. (Answers in form encoding, GitHub's, need none: x/oauth2
// reads them.)
type shape int

const (
	shapeStandard shape = iota
	shapeSlack          // a user's token, where only that was asked for, stands under authed_user
	shapeJSON           // the request's body is JSON
)

// shaped is a client that speaks a token endpoint's own shape.
func shaped(c *http.Client, s shape) *http.Client {
	if s == shapeStandard {
		return c
	}
	own := *c
	own.Transport = reshape{c.Transport, s}
	return &own
}

type reshape struct {
	next  http.RoundTripper
	shape shape
}

func (t reshape) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.shape == shapeJSON {
		var err error
		if r, err = jsonRequest(r); err != nil {
			return nil, err
		}
	}
	a, err := t.next.RoundTrip(r)
	if err != nil || t.shape != shapeSlack {
		return a, err
	}
	return slackAnswer(a)
}

// jsonRequest is the same request with its form as a JSON object.
func jsonRequest(r *http.Request) (*http.Request, error) {
	text, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for name := range form {
		fields[name] = form.Get(name)
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	own := r.Clone(r.Context())
	own.Header.Set("Content-Type", "application/json")
	own.Body, own.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return own, nil
}

// slackAnswer lifts a user's token to where a token belongs, unless there is a bot's.
func slackAnswer(a *http.Response) (*http.Response, error) {
	if kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); kind != "application/json" {
		return a, nil
	}
	text, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	if err != nil {
		return nil, err
	}
	var answer map[string]json.RawMessage
	if json.Unmarshal(text, &answer) == nil && answer["access_token"] == nil {
		var user map[string]json.RawMessage
		if json.Unmarshal(answer["authed_user"], &user) == nil && user["access_token"] != nil {
			for _, field := range []string{"access_token", "refresh_token", "expires_in", "token_type", "scope"} {
				if user[field] != nil {
					answer[field] = user[field]
				}
			}
			if lifted, err := json.Marshal(answer); err == nil {
				text = lifted
			}
		}
	}
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return a, nil
}
