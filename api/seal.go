package api

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// SuiteXWing is HPKE (RFC 9180) in base mode with the hybrid KEM X-Wing (ML-KEM-768 with X25519),
// HKDF-SHA256 and ChaCha20-Poly1305. It is the only suite: there is no plaintext mode.
const SuiteXWing = "mlkem768-x25519"

// PublicKeySize is the length of a Recipient's public key, in bytes.
const PublicKeySize = 1216

// Opener is one fresh key pair for one reveal of one resource. Make one for every request, and drop
// it with the answer.
type Opener struct {
	resource Resource
	private  hpke.PrivateKey
}

// NewOpener makes the key pair.
func NewOpener(r Resource) (*Opener, error) {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make key pair: %w", err)
	}
	return &Opener{resource: r, private: private}, nil
}

// Recipient is what the vault needs to seal to this Opener.
func (o *Opener) Recipient() Recipient {
	return Recipient{Suite: SuiteXWing, PublicKey: o.private.PublicKey().Bytes()}
}

// Open opens every value of an answer, or none: an answer that was swapped, reordered, relabelled,
// replayed or cut is refused whole with ErrTampered.
func (o *Opener) Open(a RevealAnswer) (s Snapshot, err error) {
	Quietly(func() { s, err = o.open(a) })
	return s, err
}

func (o *Opener) open(a RevealAnswer) (Snapshot, error) {
	if a.Suite != SuiteXWing {
		return Snapshot{}, fmt.Errorf("suite %q was not offered: %w", clip(a.Suite), ErrTampered)
	}
	ctx, err := hpke.NewRecipient(a.Enc, o.private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(o.resource, a.Etag))
	if err != nil {
		return Snapshot{}, ErrTampered
	}
	s := Snapshot{Resource: o.resource, Etag: a.Etag, Bound: make([]Bound, 0, len(a.Bindings))}
	for _, b := range a.Bindings {
		plain, err := ctx.Open(b.aad(), b.Sealed)
		if err != nil {
			s.Wipe()
			return Snapshot{}, ErrTampered
		}
		s.Bound = append(s.Bound, Bound{Label: b.Label, About: b.About, Value: NewValue(plain)})
	}
	if end, err := ctx.Open(closing(len(a.Bindings)), a.Closing); err != nil || len(end) != 0 {
		s.Wipe()
		return Snapshot{}, ErrTampered
	}
	return s, nil
}

// Wipe zeroes every value of the snapshot.
func (s Snapshot) Wipe() {
	for _, b := range s.Bound {
		b.Value.Wipe()
	}
}

var (
	errNoSuite     = NewError(ErrInvalid, "recipient.suite must be "+SuiteXWing)
	errNoPublicKey = NewError(ErrInvalid, "recipient.public_key is not a key of "+SuiteXWing)
)

// Sealer seals sets of one resource to one recipient.
type Sealer struct {
	resource Resource
	public   hpke.PublicKey
}

// NewSealer reads the recipient's key.
// Errors: ErrInvalid for a suite we don't speak or a public key that isn't one.
func NewSealer(r Resource, to Recipient) (*Sealer, error) {
	if to.Suite != SuiteXWing {
		return nil, errNoSuite
	}
	public, err := hpke.MLKEM768X25519().NewPublicKey(to.PublicKey)
	if err != nil {
		return nil, errNoPublicKey
	}
	return &Sealer{resource: r, public: public}, nil
}

// Seal seals a set. What is sealed under a label is the value, or the placeholder where Delivery says
// so. Errors: ErrInvalid for a public key that turns out to be none.
func (s *Sealer) Seal(set []Bound) (RevealAnswer, error) {
	labels := Labels(set)
	a := RevealAnswer{Etag: Etag(s.resource, labels), Suite: SuiteXWing, Bindings: make([]SealedBinding, len(set))}
	enc, ctx, err := hpke.NewSender(s.public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(s.resource, a.Etag))
	if err != nil {
		return RevealAnswer{}, errNoPublicKey
	}
	a.Enc = enc
	for i, b := range set {
		var sealed []byte
		b.Value.Use(func(plain []byte) { sealed, err = ctx.Seal(b.aad(), plain) })
		if err != nil {
			return RevealAnswer{}, fmt.Errorf("seal binding %s: %w", b.ID, err)
		}
		a.Bindings[i] = SealedBinding{Label: b.Label, About: b.About, Sealed: sealed}
	}
	if a.Closing, err = ctx.Seal(closing(len(set)), nil); err != nil {
		return RevealAnswer{}, fmt.Errorf("seal the end: %w", err)
	}
	return a, nil
}

// Seal seals one set: NewSealer and its Seal.
func Seal(r Resource, to Recipient, set []Bound) (RevealAnswer, error) {
	s, err := NewSealer(r, to)
	if err != nil {
		return RevealAnswer{}, err
	}
	return s.Seal(set)
}

// info is what a whole answer is bound to: purpose, the contract's version, resource and etag.
func info(r Resource, etag string) []byte {
	return Frame("miosa-env reveal", "1", SuiteXWing, r.Type, r.ID, etag)
}

// aad is what one value is bound to.
func (l Label) aad() []byte {
	expires := ""
	if l.ExpiresAt != nil {
		expires = l.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	return Frame("value", l.ID, l.SecretID, strconv.FormatInt(l.Version, 10), l.ExposeAsEnv, l.Delivery, expires)
}

func closing(count int) []byte { return Frame("end", strconv.Itoa(count)) }

// Frame writes each part behind its length (8 bytes, big endian), so no two lists of parts read alike.
func Frame(parts ...string) []byte {
	size := 0
	for _, p := range parts {
		size += 8 + len(p)
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// clip keeps a foreign word short enough for an error.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
