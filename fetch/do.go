package fetch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	maxReveal  = 16 << 20 // bytes of a reveal's answer
	maxAnswer  = 8 << 20  // bytes of any other answer
	maxRefusal = 64 << 10 // bytes of a refusal

	headerTimeout = 5 * time.Second // from the start of an attempt to its answer's headers; a wait comes on top
)

// call is one request of the contract.
type call struct {
	method, path string
	query        url.Values
	body         func() (content, error) // made anew for every attempt; nil: no body
	max          int                     // bytes of the answer; zero: maxAnswer
	wait         time.Duration           // how long the vault may hold the request
	etag         bool                    // 304 is an answer
	unsafe       bool                    // doing it twice differs from doing it once
	once         bool                    // the caller retries
	private      []api.Value             // what the body holds and no error may repeat
	key          api.Key                 // set by do: of the attempts under way
}

// do makes the call, retrying what may pass, and decodes its answer. All attempts together end
// within the client's timeout, the wait on top.
// Errors: *Problem; api.ErrNotModified; the context's error where the caller's context ended.
func do[T any](ctx context.Context, c *Client, k call, decode func([]byte) (T, error)) (T, error) {
	var got T
	err := c.do(ctx, k, func(body []byte) (err error) { got, err = decode(body); return err })
	if err != nil {
		var zero T
		return zero, err
	}
	return got, nil
}

// do is the part of it that is the same for all types: the compiler makes it once. A refusal of a key that isn't
// the current one any more is followed by the same call with that.
func (c *Client) do(ctx context.Context, k call, decode func([]byte) error) error {
	for again := 0; ; again++ {
		k.key = c.Key()
		began := time.Now()
		err := c.doWith(ctx, k, decode)
		if time.Since(began) >= keyTaken {
			again = 0
		}
		if !refusesKey(err) || again == maxRekeys {
			return err
		}
		if err := c.renew(ctx, k.key, err); err != nil {
			return err
		}
	}
}

// doWith makes the call with the key of k.
func (c *Client) doWith(ctx context.Context, k call, decode func([]byte) error) error {
	budget := c.timeout
	if k.wait > 0 {
		budget += k.wait + headerTimeout
	}
	all, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	end := time.Now().Add(c.timeout)
	retries := delay.NewBackoff(firstPause, longestPause)
	var last error // what the latest attempt ended with
	for attempt := 1; ; attempt++ {
		body, again, err := c.attempt(all, k)
		cut := err != nil && all.Err() != nil // short, by the end of the budget: it tells nothing new
		if err == nil {
			err, again = decode(body), false
		} else if attempt > 1 && k.method == http.MethodDelete && errors.Is(err, api.ErrNotFound) {
			err = decode(nil) // an earlier attempt did it, and its answer was lost
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case last == nil || !cut:
			last = err
		}
		wait := retries.NextRandom(askedFor(err))
		if !again || k.once || time.Now().Add(wait).After(end) {
			return last
		}
		c.log.Debug().Err(err).Str("path", k.path).Int("attempt", attempt).Stringer("wait", wait.Round(time.Millisecond)).Msg("trying again")
		if delay.Sleep(all, wait) != nil {
			return cmp.Or(ctx.Err(), last)
		}
	}
}

// attempt makes one request. It returns the body of a 2xx answer, or an error and whether the same
// request may be sent again.
func (c *Client) attempt(ctx context.Context, k call) (body []byte, again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(headerTimeout+k.wait, func() { cancel(errSlow) })
	defer slow.Stop()
	var sent bool // something of the request may have reached the vault
	if k.unsafe {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	}
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, false, err
	}
	// RoundTrip and not http.Client: it knows no redirects, so no key can follow one.
	began := time.Now()
	answer, err := c.transport.RoundTrip(req)
	if err != nil {
		p := c.explain(first(err, context.Cause(ctx)))
		return nil, api.Temporary(p) && p.Reason != UnknownHost && !sent, p
	}
	defer func() { _ = answer.Body.Close() }()
	slow.Reset(c.timeout) // a body that drips is given up too
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
		return nil, false, &Problem{Reason: BadAnswer, Message: "the vault at " + c.host + " answered 304 (not modified) to a request that has no etag",
			Hint: "a cache may have answered instead: look for a proxy in between"}
	case s >= 300 && s < 400:
		return nil, false, &Problem{Reason: Redirected, Message: "the vault at " + c.host + " redirects elsewhere, and no redirect is followed",
			Hint: "check MIOSA_BASE_URL: its scheme, host and path"}
	case s >= 400:
		p := c.refusal(answer, k)
		return nil, api.Temporary(p) && (!k.unsafe || undone(p)), p
	case s < 200:
		return nil, false, &Problem{Reason: BadAnswer, Message: "the vault at " + c.host + " changed the protocol unasked"}
	}
	if !isJSON(answer.Header) {
		return nil, false, &Problem{Reason: BadAnswer, Message: "the answer of " + c.host + " isn't JSON", Hint: "check that MIOSA_BASE_URL is a vault's"}
	}
	if encoded(answer.Header) {
		return nil, false, &Problem{Reason: BadAnswer, Message: "the answer of " + c.host + " is compressed, which wasn't asked for", Hint: "a proxy may have changed it"}
	}
	limit := k.max
	if limit == 0 {
		limit = maxAnswer
	}
	body, err = read(answer, limit)
	if err != nil {
		p := c.explain(first(err, context.Cause(ctx)))
		return nil, api.Temporary(p) && !sent, p
	}
	return body, false, nil
}

// undone reports whether a refusal says that the vault has done nothing: it was asked too much, or it
// couldn't then and calls the request retryable.
func undone(err error) bool {
	refused, ok := errors.AsType[*api.Error](err)
	return ok && (refused.Kind == api.ErrRateLimited ||
		refused.Kind == api.ErrUnavailable && refused.Retryable != nil && *refused.Retryable)
}

// first returns the cause where there is one: it says which deadline passed.
func first(err, cause error) error {
	if cause != nil {
		return cause
	}
	return err
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	var body content
	if k.body != nil {
		var err error
		if body, err = k.body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body.Reader)
	if err != nil {
		return nil, errors.New("the request's address isn't a URL")
	}
	req.ContentLength = body.length
	if again, ok := body.Reader.(interface{ again() (io.ReadCloser, error) }); ok {
		req.GetBody = again.again // for a connection that the vault closed while it was idle
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

// read returns the whole body, or a Problem where it is longer than limit bytes.
func read(answer *http.Response, limit int) ([]byte, error) {
	tooLarge := &Problem{Reason: TooLarge, Message: "the vault's answer is longer than the " + mebibytes(limit) + " allowed"}
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
			// The last step goes past the limit at once: a hostile body must not take the machine's memory.
			grown := 2 * cap(body)
			if grown >= limit {
				grown = limit + 1
			}
			body = append(make([]byte, 0, grown), body...)
		}
	}
}

// isJSON tells whether a body is JSON, by its media type.
func isJSON(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

func encoded(h http.Header) bool {
	for _, e := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(e), "identity") {
			return true
		}
	}
	return false
}
