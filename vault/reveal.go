package vault

import (
	"cmp"
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

	publicKey []byte // decoded already; nil: not yet
}

// readQuickly implements quickBody, since thousands of agents may send their next reveal at once.
func (b *revealBody) readQuickly(text []byte) bool {
	q, ok := api.ReadRevealRequest(text)
	if ok {
		b.Version, b.Resource, b.Etag, b.WaitSeconds = q.Version, q.Resource, q.Etag, q.WaitSeconds
		b.Recipient.Suite, b.publicKey = q.Recipient.Suite, q.Recipient.PublicKey
	}
	return ok
}

// recipient checks the request before it waits, and returns the recipient of the answer.
func (b revealBody) recipient() (to api.Recipient, err error) {
	if err := b.Validate(); err != nil {
		return to, err
	}
	if b.Version != api.RevealVersion {
		return to, api.NewError(api.ErrInvalid, fmt.Sprintf("version must be %d, the reveal's version that this vault answers", api.RevealVersion))
	}
	if b.WaitSeconds < 0 || b.WaitSeconds > int(api.MaxWait/time.Second) {
		return to, api.NewError(api.ErrInvalid, "wait_seconds must be 0 to 60")
	}
	to.Suite, to.PublicKey = b.Recipient.Suite, b.publicKey
	if to.PublicKey != nil {
		return to, to.Validate()
	}
	if to.PublicKey, err = base64.StdEncoding.DecodeString(b.Recipient.PublicKey); err != nil {
		return to, api.NewError(api.ErrInvalid, "recipient.public_key must be base64")
	}
	return to, to.Validate()
}

// reveal answers with the set of a resource, sealed to the recipient. If the set has the given etag, reveal waits for a
// change (200), the end of wait_seconds (304), the end of the key (401), or the stop of the vault (503, so that the
// agent uses another one).
func (v *Vault) reveal(c *call, in revealBody) (reply, error) {
	to, err := in.recipient()
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
	sealer, err := api.NewSealer(in.Resource, to)
	if err != nil {
		return reply{}, err
	}
	answer, err := v.store.Reveal(c.ctx(), c.actor, in.Resource, sealer, c.memory.Grow)
	if err != nil {
		return reply{}, v.countUnaudited(err)
	}
	text, err := encodeLarge(c.ctx(), v.store, c.actor, answer, len(answer.Sealed))
	return reply{body: text}, err
}

// countUnaudited returns err, and counts that of a reveal that can't be audited.
func (v *Vault) countUnaudited(err error) error {
	if errors.Is(err, store.ErrNotAudited) {
		v.metrics.unaudited.Inc()
	}
	return err
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

// run waits, answers, and gives the connection back. At recheck the set or the key may change by itself. Its goroutine waits most of the
// time, so everything that takes a large stack runs on another one.
func (w *waiting) run(recheck time.Time) {
	defer w.request.End(idleTimeout)
	for next := &recheck; next != nil; {
		err, end := w.wait(*next), func() {}
		if err == nil {
			end = w.vault.store.WokenTurn(w.actor)
		}
		w.vault.workers.Run(func() { next = w.respond(err, end) })
	}
}

// errGone is the error of a client that has closed its connection.
var errGone = errors.New("the client is gone")

// panicError is the error of a check that has panicked.
type panicError struct{ value any }

func (*panicError) Error() string { return "a check panicked" }

// wait waits for a change, or until recheck. Errors: errGone, api.ErrNotModified at the end of the wait, errStopping, those of store.Missed.
func (w *waiting) wait(recheck time.Time) error {
	v, until := w.vault, w.deadline
	if recheck.Before(until) {
		until = recheck
	}
	if v.draining.Err() == nil && w.request.Wait(until) != nil {
		return errGone
	}
	if err := v.store.Missed(); err != nil {
		return cmp.Or(v.stopping(), err)
	}
	if !time.Now().Before(w.deadline) {
		return api.ErrNotModified
	}
	return nil
}

// stopping returns errStopping if the vault stops, otherwise nil.
func (v *Vault) stopping() error {
	if v.draining.Err() == nil {
		return nil
	}
	stopping := *errStopping
	stopping.RetryAfter = limit.StopPause(int(v.atTheStop.Load()))
	return &stopping
}

// respond checks whether the set has changed, unless the wait has ended with an error, ends the turn, and answers. recheck is when to check
// again; nil: it has answered.
func (w *waiting) respond(err error, end func()) (recheck *time.Time) {
	v := w.vault
	memory := v.limits.memory.Share(w.actor.TenantID)
	defer memory.Release()
	var set encoded
	if err == nil {
		set, recheck, err = w.check(memory)
	}
	end() // clients may take long to read
	if recheck != nil && err == nil {
		return recheck
	}
	w.unsubscribe()
	v.metrics.waiting.Dec()
	w.release()
	w.answer(set, err, memory)
	return nil
}

// check returns the answer if the set has changed. Errors: as store.RevealChanged, errStopping.
func (w *waiting) check(memory *limit.Share) (set encoded, recheck *time.Time, err error) {
	v := w.vault
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	// The sealer isn't kept while the reveal waits, since it is large.
	sealer := func() (*api.Sealer, error) { return api.NewSealer(w.resource, w.to) }
	answer, recheck, err := v.store.RevealChanged(v.answering, w.actor, w.resource, w.etag, sealer, memory.Grow)
	switch err = v.countUnaudited(err); {
	case errors.Is(err, api.ErrUnauthorized):
	case err != nil, recheck != nil:
		err = cmp.Or(v.stopping(), err)
	default:
		set, err = encodeLarge(v.answering, v.store, w.actor, answer, len(answer.Sealed))
	}
	return set, recheck, err
}

// answer answers the request: with the set if err is nil.
func (w *waiting) answer(set encoded, err error, memory *limit.Share) {
	v, o := w.vault, &w.observed
	defer o.served()
	defer v.end(o)
	if errors.Is(err, errGone) {
		return
	}
	text := &recorder{header: http.Header{}}
	o.ResponseWriter = text
	v.setHeaders(o)
	func() {
		defer func() {
			if p := recover(); p != nil {
				v.panicked(o, p)
			}
		}()
		if p, ok := errors.AsType[*panicError](err); ok {
			panic(p.value)
		}
		switch {
		case errors.Is(err, api.ErrNotModified):
			o.WriteHeader(http.StatusNotModified)
		case err != nil:
			v.refuse(o, err)
		default:
			v.write(&call{w: o, actor: w.actor, memory: memory}, reply{body: set})
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
