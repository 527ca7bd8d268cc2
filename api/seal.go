package api

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"strconv"
)

// SuiteXWing is HPKE (RFC 9180) in base mode with the hybrid KEM X-Wing (ML-KEM-768 with X25519),
// HKDF-SHA256 and ChaCha20-Poly1305. It is the only suite: there is no plaintext mode.
const SuiteXWing = "mlkem768-x25519"

// PublicKeySize is the length of a Recipient's public key, in bytes.
const PublicKeySize = 1216

// Opener is a key pair for one reveal of one resource.
type Opener struct {
	resource Resource
	private  hpke.PrivateKey
}

// NewOpener generates the key pair.
func NewOpener(r Resource) (*Opener, error) {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make key pair: %w", err)
	}
	return &Opener{resource: r, private: private}, nil
}

// Request is the request of this Opener, without an etag.
func (o *Opener) Request() RevealRequest {
	return RevealRequest{Version: RevealVersion, Resource: o.resource, Recipient: o.Recipient()}
}

// Recipient is the public key, to which the vault seals.
func (o *Opener) Recipient() Recipient {
	return Recipient{Suite: SuiteXWing, PublicKey: o.private.PublicKey().Bytes()}
}

// Open opens an answer. It refuses one that was altered, belongs to another resource or was sealed to another key pair.
// Errors: ErrTampered; ErrNotSet for an answer that opens, but isn't a set of this resource.
func (o *Opener) Open(a RevealAnswer) (s Snapshot, err error) {
	Quietly(func() { s, err = o.open(a) })
	return s, err
}

func (o *Opener) open(a RevealAnswer) (Snapshot, error) {
	if a.Suite != SuiteXWing {
		return Snapshot{}, fmt.Errorf("suite %q was not offered: %w", clip(a.Suite), ErrTampered)
	}
	encoded, err := hpke.Open(o.private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(o.resource, a.Etag), a.Sealed)
	if err != nil {
		return Snapshot{}, ErrTampered
	}
	s, err := DecodeSnapshot(encoded, nil)
	if err == nil && (s.Resource != o.resource || s.Etag != a.Etag) {
		err = ErrNotSet
	}
	if err != nil {
		clear(encoded)
		return Snapshot{}, err
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

// NewSealer parses the recipient's key. Errors: ErrInvalid for an unknown suite or a malformed public key.
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

// Seal seals a set. Errors: ErrInvalid for an invalid public key; ErrWiped.
func (s *Sealer) Seal(set []Bound) (RevealAnswer, error) {
	a := RevealAnswer{Etag: Etag(s.resource, Labels(set)), Suite: SuiteXWing}
	encoded, err := Snapshot{Resource: s.resource, Etag: a.Etag, Bound: set}.Encode(func(size int) []byte { return make([]byte, size) })
	if err != nil {
		return RevealAnswer{}, err
	}
	defer clear(encoded)
	a.Sealed, err = hpke.Seal(s.public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(s.resource, a.Etag), encoded)
	if err != nil {
		return RevealAnswer{}, errNoPublicKey
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

// info is what an answer is bound to: purpose, version, suite, resource and etag.
func info(r Resource, etag string) []byte {
	return Frame("miosa-env reveal", strconv.Itoa(RevealVersion), SuiteXWing, r.Type, r.ID, etag)
}

// Frame encodes parts, each after its length (8 bytes, big endian). Different lists have different encodings.
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

// clip shortens a received word for an error.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
