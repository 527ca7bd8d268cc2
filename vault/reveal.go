package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/detach"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// revealBody is an api.RevealRequest with the key in base64, so that an error can name the field.
type revealBody struct {
	Version int `json:"version"`
	api.Resource
	Recipient struct {
		Suite     string `json:"suite"`
		PublicKey string `json:"public_key"`
	} `json:"recipient"`
	Etag        string `json:"etag"`
	WaitSeconds int    `json:"wait_seconds"`
}

// sealer checks the request before it waits, and returns what seals the answer for to.
func (b revealBody) sealer() (s *api.Sealer, to api.Recipient, err error) {
	if err := b.Validate(); err != nil {
		return nil, to, err
	}
	if b.Version != api.RevealVersion {
		return nil, to, api.NewError(api.ErrInvalid, fmt.Sprintf("version must be %d, the reveal's version that this vault answers", api.RevealVersion))
	}
	if b.WaitSeconds < 0 || b.WaitSeconds > int(api.MaxWait/time.Second) {
		return nil, to, api.NewError(api.ErrInvalid, "wait_seconds must be 0 to 60")
	}
	to.Suite = b.Recipient.Suite
	if to.PublicKey, err = base64.StdEncoding.DecodeString(b.Recipient.PublicKey); err != nil {
		return nil, to, api.NewError(api.ErrInvalid, "recipient.public_key must be base64")
	}
	s, err = api.NewSealer(b.Resource, to)
	return s, to, err
}

// reveal answers with the set of a resource, sealed to the recipient. If the set has the given etag, reveal waits for a
// change (200), the end of wait_seconds (304), the end of the key (401), or the stop of the vault (503, so that the
// agent uses another one).
func (v *Vault) reveal(c *call, in revealBody) (reply, error) {
	sealer, to, err := in.sealer()
	if err != nil {
		return reply{}, err
	}
	if err := v.refresh.expired(c.ctx(), c.actor, in.Resource); err != nil {
		return reply{}, err
	}
	if in.Etag != "" {
		w := &waiting{vault: v, actor: c.actor, resource: in.Resource, to: to, etag: in.Etag}
		if unchanged, err := w.begin(c, time.Duration(in.WaitSeconds)*time.Second); unchanged || err != nil {
			return reply{status: http.StatusNotModified}, err
		}
	}
	answer, err := v.sealed(c.ctx(), c.actor, in.Resource, sealer, c.memory)
	return reply{body: answer}, err
}

// sealed returns the set of a resource, sealed to the recipient, in JSON.
func (v *Vault) sealed(ctx context.Context, a store.Actor, r api.Resource, to *api.Sealer, memory *limit.Share) (encoded, error) {
	answer, err := v.store.Reveal(ctx, a, r, to, memory.Grow)
	if errors.Is(err, store.ErrNotAudited) {
		v.metrics.unaudited.Inc()
	}
	if err != nil {
		return nil, err
	}
	return encodeLarge(ctx, v.store, a, answer, len(answer.Sealed))
}

// waiting is a reveal that waits for a change. It has taken its connection from net/http, and keeps only what its answer takes.
type waiting struct {
	vault    *Vault
	actor    store.Actor
	resource api.Resource
	to       api.Recipient
	etag     string
	deadline time.Time

	observed    observedWriter // with a writer once there is an answer
	request     *detach.Request
	unsubscribe func()
	release     func() // gives up the place of a waiting reveal
}

// begin detaches the request, so that it is answered later, if the set has the etag. If it has another one, it returns false: the
// caller answers. unchanged is true with a request that was detached, and with one that doesn't wait.
func (w *waiting) begin(c *call, wait time.Duration) (unchanged bool, err error) {
	v := w.vault
	if w.request, err = detach.New(c.r); err != nil {
		return false, err
	}
	if w.release, err = v.limits.requests.Wait(w.actor.KeyID, w.actor.TenantID); err != nil {
		return false, err
	}
	w.deadline = time.Now().Add(wait)
	w.unsubscribe = v.store.Subscribe(w.actor, w.resource, w.request.Wake)
	recheck, err := v.store.Unchanged(c.ctx(), w.actor, w.resource, w.etag)
	if err == nil && recheck != nil && wait > 0 {
		o := observed(c.w)
		w.observed = observedWriter{id: o.id, keyID: o.keyID, route: o.route, start: o.start, served: o.served}
		if err = w.request.Detach(c.w); err == nil {
			o.detached = true
			v.metrics.waiting.Inc()
			go w.run(*recheck)
			return true, nil
		}
	}
	w.unsubscribe()
	w.release()
	return recheck != nil, err
}

// run waits, answers, and gives the connection back. At recheck the set or the key may change by itself.
func (w *waiting) run(recheck time.Time) {
	defer w.request.End(idleTimeout)
	err := w.wait(recheck)
	w.unsubscribe()
	w.vault.metrics.waiting.Dec()
	w.release()
	w.answer(err)
}

// errGone is the error of a client that has closed its connection.
var errGone = errors.New("the client is gone")

// panicError is the error of a check that has panicked.
type panicError struct{ value any }

func (*panicError) Error() string { return "a check panicked" }

// wait returns nil when the set has changed. Errors: as store.Unchanged, api.ErrNotModified, errStopping, errGone.
func (w *waiting) wait(recheck time.Time) error {
	v := w.vault
	for {
		until := w.deadline
		if recheck.Before(until) {
			until = recheck
		}
		if v.draining.Err() == nil && w.request.Wait(until) != nil {
			return errGone
		}
		next, err := w.check()
		if next == nil || err != nil {
			return err
		}
		recheck = *next
	}
}

// check is a method of its own so that a goroutine that waits has a small stack.
func (w *waiting) check() (recheck *time.Time, err error) {
	v := w.vault
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	err = v.store.Missed()
	if err == nil && !time.Now().Before(w.deadline) {
		return nil, api.ErrNotModified
	}
	if err == nil {
		recheck, err = v.store.Unchanged(v.answering, w.actor, w.resource, w.etag)
	}
	if v.draining.Err() != nil && (err == nil && recheck != nil || err != nil && !errors.Is(err, api.ErrUnauthorized)) {
		stopping := *errStopping
		stopping.RetryAfter = limit.StopPause(int(v.atTheStop.Load()))
		return nil, &stopping
	}
	return recheck, err
}

// answer answers the request: with the set if err is nil.
func (w *waiting) answer(err error) {
	v, o := w.vault, &w.observed
	defer o.served()
	defer v.end(o)
	if errors.Is(err, errGone) {
		return
	}
	text := &recorder{header: http.Header{}}
	o.ResponseWriter = text
	v.setHeaders(o)
	c := &call{w: o, actor: w.actor, memory: v.limits.memory.Share(w.actor.TenantID)}
	defer c.memory.Release()
	func() {
		defer func() {
			if p := recover(); p != nil {
				v.panicked(o, p)
			}
		}()
		if p, ok := errors.AsType[*panicError](err); ok {
			panic(p.value)
		}
		var set reply
		var sealer *api.Sealer // not kept while the reveal waits, since it is large
		if err == nil {
			sealer, err = api.NewSealer(w.resource, w.to)
		}
		if err == nil {
			set.body, err = v.sealed(v.answering, w.actor, w.resource, sealer, c.memory)
		}
		switch {
		case errors.Is(err, api.ErrNotModified):
			o.WriteHeader(http.StatusNotModified)
		case err != nil:
			v.refuse(o, err)
		default:
			v.write(c, set)
		}
	}()
	_ = w.request.Answer(o.status, text.header, text.body, writeTimeout) // an error means that the client is gone
}

// recorder is an http.ResponseWriter in memory, for writeJSON. The status is in the observedWriter around it.
type recorder struct {
	header http.Header
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

// Write keeps b without a copy: it is a whole answer, maybe a large one, which isn't used otherwise.
func (r *recorder) Write(b []byte) (n int, err error) {
	r.body = b
	return len(b), nil
}
