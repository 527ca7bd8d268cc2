package vault

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/goroutine"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// basePath is the prefix of the API's routes.
const basePath = "/api/v1"

// route is one method of one path of the API.
type route struct {
	method string
	path   string // under basePath, as in a pattern of http.ServeMux
	action string // in the audit; it determines which keys may use the route; "": all
	limit  int64  // of the body, in bytes
	handle handler
}

// name identifies the route in metrics and logs. It contains no id.
func (r route) name() string { return r.method + " " + r.path }

// handler answers a call that is authenticated, allowed and within its limits.
type handler func(*call) (reply, error)

// call is a request and its actor.
type call struct {
	store *store.Store
	w     http.ResponseWriter
	r     *http.Request
	actor store.Actor
	limit int64

	memory *limit.Share // of its body and its answer
}

func (c *call) ctx() context.Context { return c.r.Context() }

// reserveBody reserves memory for the body and its decoded form. Errors: ErrRateLimited.
func (c *call) reserveBody() error {
	length := c.r.ContentLength
	if length < 0 { // unknown
		length = c.limit
	}
	err := c.memory.Grow(c.ctx(), 3*length)
	if err != nil && length > 0 {
		leaveUnread(c.w)
	}
	return err
}

// encode is encodeLarge for the request's actor.
func (c *call) encode(part any, size int) (encoded, error) {
	return encodeLarge(c.ctx(), c.store, c.actor, part, size)
}

// id is the id in the path.
func (c *call) id() string { return c.r.PathValue("id") }

// reply is a handler's answer. Status 0 is 200; a nil body is no body.
type reply struct {
	status int
	body   any
}

// data is the answer with one object. It has at most one key beside "data", and a list is never under "data": the SDKs
// accept nothing else.
type data struct {
	Data any `json:"data"`
}

// listOf is the answer with a page of a list. next is the cursor of the next page; "": there is none.
func listOf[T any](name string, items []T, next string) reply {
	body := map[string]any{name: items}
	if next != "" {
		body["next_cursor"] = next
	}
	return reply{body: body}
}

// none is the input of a handler that takes none.
type none struct{}

// serveJSON makes a handler of a function of the request's input: the query of a GET or DELETE, else the JSON body.
func serveJSON[In any](fn func(*call, In) (reply, error)) handler {
	return func(c *call) (reply, error) {
		var in In
		var err error
		if _, without := any(in).(none); !without && (c.r.Method == http.MethodGet || c.r.Method == http.MethodDelete) {
			err = readQuery(c.r.URL.RawQuery, &in)
		} else if !without {
			if err = c.reserveBody(); err == nil {
				in, err = readBody[In](c.w, c.r, c.limit)
			}
		}
		if err != nil {
			return reply{}, err
		}
		return fn(c, in)
	}
}

// serveOne makes a handler of a function that returns the item with the id in the path.
func serveOne[T any](fn func(context.Context, store.Actor, string) (T, error)) handler {
	return func(c *call) (reply, error) {
		item, err := fn(c.ctx(), c.actor, c.id())
		return reply{body: data{item}}, err
	}
}

// serveDelete makes a handler of a function that deletes the item with the id in the path.
func serveDelete(fn func(context.Context, store.Actor, string) error) handler {
	return func(c *call) (reply, error) {
		return reply{body: map[string]bool{"ok": true}}, fn(c.ctx(), c.actor, c.id())
	}
}

// serve checks the size of the body, the key, its rate and its kind, in this order, before it reads the body, and calls the
// route's handler.
func (v *Vault) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{store: v.store, w: w, r: r, limit: rt.limit}
		err := v.admit(c, rt)
		defer c.memory.Release()
		if err != nil && r.ContentLength != 0 {
			leaveUnread(w)
		}
		var answer reply
		if err == nil {
			goroutine.ReserveStack()
			if r.ContentLength < 0 {
				body := &countedBody{ReadCloser: r.Body}
				r.Body = body
				defer func() { v.limits.requests.Transferred(c.actor.TenantID, body.read) }()
			}
			answer, err = rt.handle(c)
		}
		if err != nil {
			v.refuse(w, err)
			return
		}
		if o := observed(w); !o.detached && !o.upgraded {
			v.write(c, answer)
		}
	})
}

// write writes an answer, and counts it.
func (v *Vault) write(c *call, answer reply) {
	long, ok := answer.body.(*longList)
	if !ok {
		if answer.body != nil {
			text := encode(answer.body)
			c.memory.Hold(int64(len(text))) // until the client has read it
			answer.body = text
		}
		v.limits.requests.Transferred(c.actor.TenantID, writeJSON(c.w, answer))
		return
	}
	length, err := long.writeTo(c.w)
	v.limits.requests.Transferred(c.actor.TenantID, length)
	if err != nil {
		v.log.Warn().Err(err).Str("request_id", observed(c.w).id).Msg("list not sent completely")
		panic(http.ErrAbortHandler)
	}
}

func (v *Vault) admit(c *call, rt route) (err error) {
	if c.r.ContentLength > rt.limit {
		return errTooLarge
	}
	if c.actor, err = v.authenticate(c.r, observed(c.w).id); err != nil {
		return err
	}
	observed(c.w).keyID = c.actor.KeyID
	if err := limit.ConnOf(c.ctx()).Present(c.actor.TenantID); err != nil {
		c.w.Header().Set("Connection", "close")
		return err
	}
	if err := v.limits.requests.Take(c.actor.KeyID, c.actor.TenantID, c.r.ContentLength); err != nil {
		return err
	}
	c.memory = v.limits.memory.Share(c.actor.TenantID)
	return v.store.Permit(c.ctx(), c.actor, rt.action, c.actor.Resource)
}

// authenticate returns the actor of a request's key. Failures are counted per remote address. A valid key isn't
// affected by that count, so nobody can lock out others behind the same address.
// Errors: ErrUnauthorized, ErrRateLimited after too many failures, ErrUnavailable.
func (v *Vault) authenticate(r *http.Request, requestID string) (store.Actor, error) {
	actor, err := v.actor(r)
	if err == nil {
		actor.RemoteAddr, actor.RequestID = address(r.RemoteAddr), requestID
		return actor, nil
	}
	if reason := v.store.CountRefusal(err, address(r.RemoteAddr)); reason != "" {
		v.metrics.invalid.WithLabelValues(reason).Inc()
	}
	if errors.Is(err, api.ErrUnauthorized) {
		if err := v.limits.failures.Take(limit.Origin(r.RemoteAddr), 1); err != nil {
			return store.Actor{}, err
		}
	}
	return store.Actor{}, err
}

func (v *Vault) actor(r *http.Request) (store.Actor, error) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return store.Actor{}, api.NewError(api.ErrUnauthorized, "a key is required: send Authorization: Bearer KEY")
	}
	return v.store.Authenticate(r.Context(), text)
}

// address is the remote address without its port, for the audit.
func address(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		return remoteAddr
	}
	return host
}
