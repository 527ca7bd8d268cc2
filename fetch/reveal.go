package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/goroutine"
)

// Reveal returns the bindings of one resource with their values opened, sorted by env name. With an etag it waits up to
// wait (whole seconds, at most api.MaxWait) for a change, and returns api.ErrNotModified if there was none. Each attempt
// has its own key pair.
// Errors: *Problem around api.ErrUnauthorized and api.ErrDenied (permanent), api.ErrNotFound (the vault has no agent API),
// api.ErrUnavailable (retry), api.ErrTampered (keep the old set).
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
		wait = 0 // there is nothing to compare with
	}
	wait = wait.Truncate(time.Second)
	var pair *keyPair
	k := call{
		method: http.MethodPost, path: "/egress/bindings/reveal", max: maxReveal,
		wait: wait, etag: etag != "", once: once,
		body: func() content {
			pair = new(keyPair)
			return pair.request(api.RevealRequest{Version: api.RevealVersion, Resource: r, Etag: etag, WaitSeconds: int(wait / time.Second)})
		},
	}
	return do(ctx, c, k, func(body []byte) (api.Snapshot, error) {
		<-pair.made
		return open(pair.opener, body)
	})
}

// keyPair is the key pair of one attempt, and the body of its request. It is made while the connection is: each takes
// about as long.
type keyPair struct {
	made   chan struct{} // closed when the fields below are final
	opener *api.Opener
	text   []byte
	err    error
	read   int // bytes of text that Read has returned
}

// request returns the body of a request. It is written when the key pair has been made.
func (k *keyPair) request(q api.RevealRequest) content {
	q.Recipient = api.Recipient{Suite: api.SuiteXWing, PublicKey: make([]byte, api.PublicKeySize)}
	length := len(q.AppendJSON(nil))
	k.made = make(chan struct{})
	goroutine.Go(func() {
		if k.opener, k.err = api.NewOpener(q.Resource); k.err == nil {
			q.Recipient = k.opener.Recipient()
			k.text = q.AppendJSON(make([]byte, 0, length))
		}
		close(k.made)
		api.PrepareToOpen() // while the vault answers
	})
	return content{k, int64(length)}
}

// Read waits for the key pair.
func (k *keyPair) Read(b []byte) (int, error) {
	<-k.made
	switch {
	case k.err != nil:
		return 0, k.err
	case k.read == len(k.text):
		return 0, io.EOF
	}
	n := copy(b, k.text[k.read:])
	k.read += n
	return n, nil
}

// again returns the same body from its start.
func (k *keyPair) again() (io.ReadCloser, error) {
	<-k.made
	return io.NopCloser(bytes.NewReader(k.text)), k.err
}

// open decodes the response to a reveal and opens it, completely or not at all.
func open(opener *api.Opener, body []byte) (api.Snapshot, error) {
	answer, err := api.DecodeRevealAnswer(body)
	if err == nil && answer.Sealed == nil { // in an envelope, or something else
		answer, err = api.DecodeRevealAnswer(unwrap(body, "data"))
	}
	if err != nil || answer.Sealed == nil {
		return api.Snapshot{}, notContract(body)
	}
	s, err := opener.Open(answer)
	if errors.Is(err, api.ErrTampered) {
		return api.Snapshot{}, &Problem{Reason: reasonTampered, Message: err.Error(), cause: err,
			Fix: "something between this machine and the vault changes answers: look for a proxy that ends TLS"}
	}
	if errors.Is(err, api.ErrNotSet) {
		return api.Snapshot{}, &Problem{Reason: reasonBadAnswer, Message: "what the vault sealed isn't a set of values for this resource", Fix: "check the vault's version", cause: err}
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

// check returns an error for a set that opens but lacks required fields.
func check(s api.Snapshot) error {
	if s.Etag == "" {
		return unusable("the set has no etag")
	}
	for _, b := range s.Bound {
		switch {
		case b.ID == "":
			return unusable("a binding has no id")
		case b.SecretID == "":
			return unusable("a binding has no secret_id")
		case b.ExposeAsEnv == "":
			return unusable("a binding has no expose_as_env")
		case b.Version < 1:
			return unusable("a binding has a version below 1")
		}
	}
	return nil
}

// unusable returns the Problem of a response that decodes but lacks required content.
func unusable(wrong string) *Problem {
	return &Problem{Reason: reasonBadAnswer, Message: "the vault's answer isn't in the contract's form: " + wrong, Fix: "check the vault's version"}
}

// sortByName sorts by env name, then by id.
func sortByName(set []api.Bound) {
	sort.SliceStable(set, func(i, j int) bool {
		a, b := &set[i], &set[j]
		return a.ExposeAsEnv < b.ExposeAsEnv || a.ExposeAsEnv == b.ExposeAsEnv && a.ID < b.ID
	})
}
