package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
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

// sealer checks the request before it waits.
func (b revealBody) sealer() (*api.Sealer, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if b.Version != api.RevealVersion {
		return nil, api.NewError(api.ErrInvalid, fmt.Sprintf("version must be %d, the reveal's version that this vault answers", api.RevealVersion))
	}
	if b.WaitSeconds < 0 || b.WaitSeconds > int(api.MaxWait/time.Second) {
		return nil, api.NewError(api.ErrInvalid, "wait_seconds must be 0 to 60")
	}
	key, err := base64.StdEncoding.DecodeString(b.Recipient.PublicKey)
	if err != nil {
		return nil, api.NewError(api.ErrInvalid, "recipient.public_key must be base64")
	}
	return api.NewSealer(b.Resource, api.Recipient{Suite: b.Recipient.Suite, PublicKey: key})
}

// reveal answers with the set of a resource, sealed to the recipient. If the set has the given etag, reveal waits for a
// change (200), the end of wait_seconds (304), the end of the key (401), or the stop of the vault (503, so that the
// agent uses another one).
func (v *Vault) reveal(c *call, in revealBody) (reply, error) {
	to, err := in.sealer()
	if err != nil {
		return reply{}, err
	}
	if err := v.refresh.expired(c.ctx(), c.actor, in.Resource); err != nil {
		return reply{}, err
	}
	if in.Etag != "" {
		err := v.await(c, in.Resource, in.Etag, time.Duration(in.WaitSeconds)*time.Second)
		if errors.Is(err, api.ErrNotModified) {
			return reply{status: http.StatusNotModified}, nil
		}
		if err != nil {
			return reply{}, err
		}
	}
	answer, err := v.store.Reveal(c.ctx(), c.actor, in.Resource, to, c.memory.Grow)
	if errors.Is(err, store.ErrNotAudited) {
		v.metrics.unaudited.Inc()
	}
	if err != nil {
		return reply{}, err
	}
	text, err := c.encode(answer, len(answer.Sealed))
	return reply{body: text}, err
}

// await waits until the set differs from etag. It extends the connection's deadlines by the wait.
func (v *Vault) await(c *call, r api.Resource, etag string, wait time.Duration) error {
	release, err := v.limits.wait(c.actor)
	if err != nil {
		return err
	}
	defer release()
	conn := http.NewResponseController(c.w)
	_ = conn.SetReadDeadline(time.Now().Add(wait + readTimeout))
	_ = conn.SetWriteDeadline(time.Now().Add(wait + writeTimeout))

	ctx, cancel := context.WithCancel(c.ctx())
	defer cancel()
	defer context.AfterFunc(v.draining, cancel)()
	v.metrics.waiting.Inc()
	defer v.metrics.waiting.Dec()
	err = v.store.Await(ctx, c.actor, r, etag, wait)
	if err != nil && v.draining.Err() != nil && !errors.Is(err, api.ErrUnauthorized) {
		return errStopping
	}
	return err
}
