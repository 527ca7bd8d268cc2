package api

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
)

// MaxWait is the longest a reveal may wait for a change.
const MaxWait = 60 * time.Second

// RevealVersion is the version of the reveal's form: of its request, its answer and what is sealed.
const RevealVersion = 2

// RevealRequest asks for all values of one resource, sealed to Recipient. With an Etag that still
// stands the vault holds the request up to WaitSeconds. Source: docs/api.md, "Reveal".
type RevealRequest struct {
	Version int `json:"version"` // RevealVersion
	Resource
	Recipient   Recipient `json:"recipient"`
	Etag        string    `json:"etag,omitempty"`
	WaitSeconds int       `json:"wait_seconds,omitempty"` // 0 to 60
}

// Recipient is the public half of the key pair an agent made for one request.
type Recipient struct {
	Suite     string `json:"suite"`
	PublicKey []byte `json:"public_key"`
}

// RevealAnswer is the whole set, sorted by variable name, encoded and sealed as one HPKE message.
type RevealAnswer struct {
	Etag   string `json:"etag"`
	Suite  string `json:"suite"`
	Sealed []byte `json:"sealed"` // the encapsulated key, then the ciphertext
}

// About describes the secret behind a bound value, for lists. It is no part of the etag, and empty where the
// vault doesn't say.
type About struct {
	SecretName string    `json:"secret_name,omitempty"`
	UpdatedAt  time.Time `json:"updated_at,omitzero"` // when it was rotated last
}

// Label is everything about a bound value but the value.
type Label struct {
	ID          string     `json:"id"`
	SecretID    string     `json:"secret_id"`
	ExposeAsEnv string     `json:"expose_as_env"`
	Version     int64      `json:"version"`
	Delivery    string     `json:"delivery"`
	ExpiresAt   *time.Time `json:"expires_at"`
}

// Etag names a set: it changes with the resource, any id, name, version, delivery or expiry, and
// says nothing of the values.
func Etag(r Resource, labels []Label) string {
	h := sha256.New()
	h.Write(Frame("miosa-env etag", r.Type, r.ID))
	for _, l := range labels {
		h.Write(l.frame())
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// frame spells a label for the etag.
func (l Label) frame() []byte {
	expires := ""
	if l.ExpiresAt != nil {
		expires = l.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	return Frame("value", l.ID, l.SecretID, strconv.FormatInt(l.Version, 10), l.ExposeAsEnv, l.Delivery, expires)
}
