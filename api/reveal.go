package api

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
)

// MaxWait is the longest a reveal may wait for a change.
const MaxWait = 60 * time.Second

// MaxRevealAnswer is the longest answer to a reveal that clients accept, in bytes.
const MaxRevealAnswer = 16 << 20

// RevealVersion is the version of a reveal's request, answer and sealed set.
const RevealVersion = 2

// RevealRequest requests the set of one resource, sealed to Recipient. If Etag is the current one, the vault waits up to
// WaitSeconds for a change. Source: docs/api.md, "Reveal".
type RevealRequest struct {
	Version int `json:"version"` // RevealVersion
	Resource
	Recipient   Recipient `json:"recipient"`
	Etag        string    `json:"etag,omitempty"`
	WaitSeconds int       `json:"wait_seconds,omitempty"` // 0 to 60
}

// Recipient is the public key of an Opener.
type Recipient struct {
	Suite     string `json:"suite"`
	PublicKey []byte `json:"public_key"`
}

// RevealAnswer is a set, sorted by variable name, encoded and sealed as one HPKE message.
type RevealAnswer struct {
	Etag   string `json:"etag"`
	Suite  string `json:"suite"`
	Sealed []byte `json:"sealed"` // the encapsulated key, then the ciphertext
}

// About describes the secret of a binding, for lists. The etag doesn't depend on it. Fields are empty if unknown.
type About struct {
	SecretName string    `json:"secret_name,omitempty"`
	UpdatedAt  time.Time `json:"updated_at,omitzero"` // the last rotation
}

// Label describes a bound value.
type Label struct {
	ID          string     `json:"id"`
	SecretID    string     `json:"secret_id"`
	ExposeAsEnv string     `json:"expose_as_env"`
	Version     int64      `json:"version"`
	Delivery    string     `json:"delivery"`
	ExpiresAt   *time.Time `json:"expires_at"`
	Egress      *Egress    `json:"egress,omitempty"` // for a broker key only; Delivery is DeliverPlaceholder then, and the value is not the placeholder
	Placeholder string     `json:"-"`                // of a binding with that delivery, for another key: in a set it is the value, and only Labels sets it
}

// Etag returns the etag of a set without a policy. It depends on the resource and all ids, names, versions, deliveries,
// expiries, placeholders and rules, but not on the values.
func Etag(r Resource, labels []Label) string { return EtagWithPolicy(r, labels, nil) }

// EtagWithPolicy returns the etag of a set with a policy, or with nil without one.
func EtagWithPolicy(r Resource, labels []Label, p *NetworkPolicy) string {
	h := sha256.New()
	const usual = 512
	b := AppendFrame(make([]byte, 0, usual), "miosa-env etag", r.Type, r.ID)
	for _, l := range labels {
		h.Write(b)
		b = l.appendFrame(b[:0])
	}
	h.Write(b)
	if p != nil {
		h.Write(p.frame())
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(b[:0])[:18])
}

// appendFrame appends the encoding of a label for the etag.
func (l *Label) appendFrame(b []byte) []byte {
	expires := ""
	if l.ExpiresAt != nil {
		expires = l.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	b = AppendFrame(b, "value", l.ID, l.SecretID, strconv.FormatInt(l.Version, 10), l.ExposeAsEnv, l.Delivery, expires)
	if l.Egress != nil {
		b = append(b, l.Egress.frame()...)
	}
	if l.Placeholder != "" {
		b = AppendFrame(b, "placeholder", l.Placeholder)
	}
	return b
}
