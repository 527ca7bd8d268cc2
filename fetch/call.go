package fetch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/pace"
)

const (
	maxReveal  = api.MaxRevealAnswer // bytes
	maxAnswer  = 8 << 20             // bytes of any other response
	maxRefusal = 64 << 10            // bytes of an error response

	headerTimeout = pace.AnswerTime

	firstPause   = 100 * time.Millisecond // between the attempts of one call
	longestPause = 2 * time.Second
)

// content is a request's body and its length in bytes.
type content struct {
	io.Reader
	length int64
}

// call is one API request.
type call struct {
	method, path string
	query        url.Values
	json         any            // the body; nil: none
	body         func() content // returns the body for an attempt; nil: json
	max          int            // bytes of the response; zero: maxAnswer
	wait         time.Duration  // how long the vault may hold the request
	etag         bool           // the request has an etag, so 304 is a valid response
	unsafe       bool           // not idempotent
	once         bool           // do not retry: the caller does
	private      []api.Value    // in the body, and never repeated in an error
	key          api.Key        // of the current attempts; set by do
}

// content returns the body for an attempt.
func (k *call) content() (content, error) {
	switch {
	case k.body != nil:
		return k.body(), nil
	case k.json == nil:
		return content{}, nil
	}
	text, err := json.Marshal(k.json)
	if err != nil {
		return content{}, api.NewError(api.ErrInvalid, "the request can't be encoded as JSON") // err might quote a value
	}
	return content{bytes.NewReader(text), int64(len(text))}, nil
}

// do makes a call, retries temporary errors, and decodes the response. All attempts together take at most the client's
// timeout plus the call's wait.
// Errors: *Problem; api.ErrNotModified; the context's error if ctx ended.
func do[T any](ctx context.Context, c *Client, k call, decode func([]byte) (T, error)) (T, error) {
	var got T
	err := c.do(ctx, k, func(body []byte) (err error) { got, err = decode(body); return err })
	if err != nil {
		var zero T
		return zero, err
	}
	return got, nil
}

// do is the part that doesn't depend on a type. If the vault refuses the key and there is another one by then, it repeats
// the call with that.
func (c *Client) do(ctx context.Context, k call, decode func([]byte) error) error {
	if k.path == "" {
		return api.NewError(api.ErrInvalid, "an id is required")
	}
	for again := 0; ; again++ {
		k.key = c.Key()
		began := time.Now()
		err := c.doWith(ctx, k, decode)
		if time.Since(began) >= keyTaken {
			again = 0
		}
		if !api.RefusesKey(err) || again == maxRekeys {
			return err
		}
		if err := c.renew(ctx, k.key, err); err != nil {
			return err
		}
	}
}

// doWith makes the call with the key k.key.
func (c *Client) doWith(ctx context.Context, k call, decode func([]byte) error) error {
	budget := c.timeout
	if k.wait > 0 {
		budget += k.wait + headerTimeout
	}
	all, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	end := time.Now().Add(c.timeout)
	retries := delay.NewBackoff(firstPause, longestPause)
	var last error // of the latest attempt
	for attempt := 1; ; attempt++ {
		body, again, err := c.attempt(all, k)
		cut := err != nil && all.Err() != nil // by the end of the budget: its error has no new information
		if err == nil {
			err, again = decode(body), false
		} else if attempt > 1 && k.method == http.MethodDelete && errors.Is(err, api.ErrNotFound) {
			err = decode(nil) // an earlier attempt deleted it, and its response was lost
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case last == nil || !cut:
			last = err
		}
		wait := retries.NextRandom(api.RetryAfter(err))
		if !again || k.once || time.Now().Add(wait).After(end) {
			return last
		}
		c.log.Debug().Err(err).Str("path", k.path).Int("attempt", attempt).Stringer("wait", wait.Round(time.Millisecond)).Msg("retrying")
		if delay.Sleep(all, wait) != nil {
			return cmp.Or(ctx.Err(), last)
		}
	}
}

// attempt sends one request. It returns the body of a 2xx response, or an error and whether the request may be sent
// again.
func (c *Client) attempt(ctx context.Context, k call) (body []byte, again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(headerTimeout+k.wait, func() { cancel(errSlow) })
	defer slow.Stop()
	var sent bool // part of the request may have reached the vault
	if k.unsafe {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	}
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, false, err
	}
	// RoundTrip instead of http.Client, which follows redirects: no key may.
	began := time.Now()
	answer, err := c.transport.RoundTrip(req)
	if err != nil {
		p := c.explain(cmp.Or(context.Cause(ctx), err))
		return nil, api.Temporary(p) && p.Reason != reasonUnknownHost && !sent, p
	}
	defer func() { _ = answer.Body.Close() }()
	slow.Reset(c.timeout) // limits how long the body takes
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		c.noteClock(date, began, time.Now())
	}
	c.tls.Store(answer.TLS)
	switch s := answer.StatusCode; {
	case s == http.StatusNotModified && k.etag:
		return nil, false, api.ErrNotModified
	case s == http.StatusNoContent, s < 300 && s >= 200 && k.method == http.MethodDelete && answer.ContentLength == 0:
		return nil, false, nil
	case s == http.StatusNotModified && answer.Header.Get("Location") == "":
		return nil, false, &Problem{Reason: reasonBadAnswer, Message: "the vault at " + c.host + " answered 304 (not modified) to a request that has no etag",
			Fix: "a cache may have answered instead: look for a proxy in between"}
	case s >= 300 && s < 400:
		return nil, false, &Problem{Reason: reasonRedirected, Message: "the vault at " + c.host + " redirects elsewhere, and no redirect is followed",
			Fix: "check MIOSA_BASE_URL: its scheme, host and path"}
	case s >= 400:
		p := c.refusal(answer, k)
		return nil, api.Temporary(p) && (!k.unsafe || undone(p)), p
	case s < 200:
		return nil, false, &Problem{Reason: reasonBadAnswer, Message: "the vault at " + c.host + " switched protocols without a request to do so"}
	}
	if !isJSON(answer.Header) {
		return nil, false, &Problem{Reason: reasonBadAnswer, Message: "the answer of " + c.host + " isn't JSON", Fix: "check that MIOSA_BASE_URL is a vault's"}
	}
	if encoded(answer.Header) {
		return nil, false, &Problem{Reason: reasonBadAnswer, Message: "the answer of " + c.host + " is compressed, which wasn't asked for", Fix: "a proxy may have changed it"}
	}
	body, err = read(answer, cmp.Or(k.max, maxAnswer))
	if err != nil {
		p := c.explain(cmp.Or(context.Cause(ctx), err))
		return nil, api.Temporary(p) && !sent, p
	}
	return body, false, nil
}

// undone reports whether an error response says that the vault has done nothing: the rate limit was exceeded, or the vault
// was unavailable and calls the request retryable.
func undone(err error) bool {
	refused, ok := errors.AsType[*api.Error](err)
	return ok && (refused.Kind == api.ErrRateLimited ||
		refused.Kind == api.ErrUnavailable && refused.Retryable != nil && *refused.Retryable)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	body, err := k.content()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body.Reader)
	if err != nil {
		return nil, errors.New("the request's address isn't a URL")
	}
	req.ContentLength = body.length
	if again, ok := body.Reader.(interface{ again() (io.ReadCloser, error) }); ok {
		req.GetBody = again.again // if the vault has closed an idle connection
	}
	req.Header.Set("Authorization", "Bearer "+k.key.Reveal())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", c.userAgent)
	if body.Reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// read returns the whole body, or a Problem if it is longer than limit bytes.
func read(answer *http.Response, limit int) ([]byte, error) {
	tooLarge := &Problem{Reason: reasonTooLarge, Message: "the vault's answer is longer than the " + strconv.Itoa(limit>>20) + " MiB allowed"}
	if answer.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	body := make([]byte, 0, max(answer.ContentLength+1, 4096)) // one more, so that the end is read without growing
	for {
		n, err := answer.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return nil, tooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		case len(body) == cap(body):
			// The last step grows just beyond the limit: a hostile body must not use up the machine's memory.
			grown := 2 * cap(body)
			if grown >= limit {
				grown = limit + 1
			}
			body = append(make([]byte, 0, grown), body...)
		}
	}
}

// isJSON reports whether a body is JSON, by its media type.
func isJSON(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// encoded reports whether a body is compressed.
func encoded(h http.Header) bool {
	return slices.ContainsFunc(h.Values("Content-Encoding"), func(e string) bool {
		return !strings.EqualFold(strings.TrimSpace(e), "identity")
	})
}
