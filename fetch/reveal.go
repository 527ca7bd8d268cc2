package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Reveal returns the bindings of one resource with their values opened, sorted by env name. With an
// etag it waits up to wait (whole seconds, at most api.MaxWait) for a change, and returns
// api.ErrNotModified when there was none. Each attempt has a key pair of its own.
// Errors: *Problem around api.ErrUnauthorized and api.ErrDenied (permanent), api.ErrNotFound (a vault
// without the agent API), api.ErrUnavailable (may pass), api.ErrTampered (keep the old set).
// Source: docs/api.md, "Reveal, and wait for change".
func (c *Client) Reveal(ctx context.Context, r api.Resource, etag string, wait time.Duration) (api.Snapshot, error) {
	return c.reveal(ctx, r, etag, wait, false)
}

func (c *Client) reveal(ctx context.Context, r api.Resource, etag string, wait time.Duration, once bool) (api.Snapshot, error) {
	if err := r.Validate(); err != nil {
		return api.Snapshot{}, err
	}
	if wait < 0 || wait > api.MaxWait {
		return api.Snapshot{}, fmt.Errorf("wait %s: want 0 to %s", wait, api.MaxWait)
	}
	if etag == "" {
		wait = 0 // nothing to differ from
	}
	wait = wait.Truncate(time.Second)
	var pair *keyPair
	k := call{
		method: http.MethodPost, path: "/egress/bindings/reveal", max: maxReveal,
		wait: wait, etag: etag != "", once: once,
		body: func() (content, error) {
			pair = new(keyPair)
			return pair.request(api.RevealRequest{Version: api.RevealVersion, Resource: r, Etag: etag, WaitSeconds: int(wait / time.Second)}), nil
		},
	}
	return do(ctx, c, k, func(body []byte) (api.Snapshot, error) {
		<-pair.made
		return open(pair.opener, body)
	})
}

// keyPair is the key pair of one attempt. It is made while the connection is: each takes about as long.
type keyPair struct {
	late
	opener *api.Opener
}

// request returns a request's body.
func (k *keyPair) request(q api.RevealRequest) content {
	q.Recipient = api.Recipient{Suite: api.SuiteXWing, PublicKey: make([]byte, api.PublicKeySize)}
	length := len(q.AppendJSON(nil))
	made := make(chan struct{})
	k.made = made
	go func() {
		defer close(made)
		if k.opener, k.err = api.NewOpener(q.Resource); k.err == nil {
			q.Recipient = k.opener.Recipient()
			k.text = q.AppendJSON(make([]byte, 0, length))
		}
	}()
	return content{k, int64(length)}
}

// open decodes an answer to a reveal and opens it, whole or not at all.
func open(opener *api.Opener, body []byte) (api.Snapshot, error) {
	answer, err := api.DecodeRevealAnswer(body)
	if err == nil && answer.Sealed == nil { // in an envelope, or not an answer at all
		answer, err = api.DecodeRevealAnswer(unwrap(body, "data"))
	}
	if err != nil || answer.Sealed == nil {
		return api.Snapshot{}, notContract(body)
	}
	s, err := opener.Open(answer)
	if errors.Is(err, api.ErrTampered) {
		return api.Snapshot{}, &Problem{Reason: Tampered, Message: err.Error(), cause: err,
			Hint: "something between this machine and the vault changes answers: look for a proxy that ends TLS"}
	}
	if errors.Is(err, api.ErrNotSet) {
		return api.Snapshot{}, &Problem{Reason: BadAnswer, Message: "what the vault sealed isn't a set of values for this resource", Hint: "check the vault's version", cause: err}
	}
	if err != nil {
		return api.Snapshot{}, err
	}
	if err := check(s); err != nil {
		s.Wipe()
		return api.Snapshot{}, err
	}
	sortByName(s.Bound)
	return s, nil
}

// check refuses a set that opens but says nothing usable: what follows relies on these.
func check(s api.Snapshot) error {
	wrong := ""
	if s.Etag == "" {
		wrong = "the set has no etag"
	}
	for _, b := range s.Bound {
		switch {
		case b.ID == "":
			wrong = "a binding has no id"
		case b.SecretID == "":
			wrong = "a binding has no secret_id"
		case b.ExposeAsEnv == "":
			wrong = "a binding has no expose_as_env"
		case b.Version < 1:
			wrong = "a binding has a version below 1"
		}
	}
	if wrong == "" {
		return nil
	}
	return unusable(wrong)
}

// unusable is the problem of an answer that decodes, but lacks what it is for.
func unusable(wrong string) *Problem {
	return &Problem{Reason: BadAnswer, Message: "the vault's answer isn't in the contract's form: " + wrong, Hint: "check the vault's version"}
}

// sortByName sorts by env name, then by id where a name stands twice.
func sortByName(set []api.Bound) {
	sort.SliceStable(set, func(i, j int) bool {
		a, b := &set[i], &set[j]
		return a.ExposeAsEnv < b.ExposeAsEnv || a.ExposeAsEnv == b.ExposeAsEnv && a.ID < b.ID
	})
}
