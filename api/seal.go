package api

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
)

// SuiteXWing is HPKE (RFC 9180) in base mode with the hybrid KEM X-Wing (ML-KEM-768 with X25519),
// HKDF-SHA256 and ChaCha20-Poly1305. It is the only suite: there is no plaintext mode.
const SuiteXWing = "mlkem768-x25519"

// Lengths in bytes: of a Recipient's public key, and of the encapsulated key with which a sealed set begins.
const (
	PublicKeySize    = 1216
	encapsulatedSize = 1120
)

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

// PrepareToOpen does in advance what slows the first Open of a process: Go starts a thread when a goroutine is first locked to its
// own. Later calls do nothing.
var PrepareToOpen = sync.OnceFunc(func() { holdSignals()() })

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
	if len(a.Sealed) < encapsulatedSize {
		return Snapshot{}, ErrTampered
	}
	from, err := hpke.NewRecipient(a.Sealed[:encapsulatedSize], o.private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(o.resource))
	if err != nil {
		return Snapshot{}, ErrTampered
	}
	encoded, err := from.Open([]byte(a.Etag), a.Sealed[encapsulatedSize:])
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

// Validate refuses an unknown suite, and bytes that are not a public key of the suite. Errors: ErrInvalid.
func (r Recipient) Validate() error {
	if r.Suite != SuiteXWing {
		return errNoSuite
	}
	if len(r.PublicKey) != PublicKeySize {
		return errNoPublicKey
	}
	// The key of ML-KEM-768 begins with 768 numbers of 12 bits below the modulus (FIPS 203, section 7.2).
	const bytes, modulus = 768 * 12 / 8, 3329
	for k := r.PublicKey[:bytes]; len(k) > 0; k = k[3:] {
		if first, second := uint(k[0])|uint(k[1]&0xf)<<8, uint(k[1]>>4)|uint(k[2])<<4; first >= modulus || second >= modulus {
			return errNoPublicKey
		}
	}
	return nil
}

// Sealer seals one set of a resource to one recipient.
type Sealer struct {
	resource    Resource
	encapsulate func() (encapsulated, error) // once
}

// encapsulated is a key that only the recipient can derive, and what it derives it from.
type encapsulated struct {
	enc    []byte
	sender *hpke.Sender
}

// NewSealer validates the recipient, whose key must not change afterwards. Errors: those of Validate.
func NewSealer(r Resource, to Recipient) (*Sealer, error) {
	if err := to.Validate(); err != nil {
		return nil, err
	}
	return &Sealer{resource: r, encapsulate: sync.OnceValues(func() (e encapsulated, err error) {
		public, err := hpke.MLKEM768X25519().NewPublicKey(to.PublicKey) // a fifth of the work
		if err != nil {
			return e, err
		}
		e.enc, e.sender, err = hpke.NewSender(public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(r))
		return e, err
	})}, nil
}

// Prepare encapsulates a key, which takes most of the time of Seal and doesn't depend on the set. It may run at the same time as Seal,
// which returns the error.
func (s *Sealer) Prepare() { _, _ = s.encapsulate() }

// Seal seals a set, with its policy or nil. Call it once. Errors: ErrInvalid for an invalid public key; ErrWiped.
func (s *Sealer) Seal(set []Bound, p *NetworkPolicy) (RevealAnswer, error) {
	a := RevealAnswer{Etag: EtagWithPolicy(s.resource, Labels(set), p), Suite: SuiteXWing}
	encoded, err := Snapshot{Resource: s.resource, Etag: a.Etag, Bound: set, Policy: p}.Encode(func(size int) []byte { return make([]byte, size) })
	if err != nil {
		return RevealAnswer{}, err
	}
	defer clear(encoded)
	to, err := s.encapsulate()
	if err != nil {
		return RevealAnswer{}, errNoPublicKey
	}
	var sealed []byte
	Quietly(func() { sealed, err = to.sender.Seal([]byte(a.Etag), encoded) })
	a.Sealed = append(to.enc, sealed...)
	return a, err
}

// Seal seals one set without a policy: NewSealer and its Seal.
func Seal(r Resource, to Recipient, set []Bound) (RevealAnswer, error) {
	s, err := NewSealer(r, to)
	if err != nil {
		return RevealAnswer{}, err
	}
	return s.Seal(set, nil)
}

// info is what an answer is bound to: purpose, version, suite and resource. The etag is additional data.
func info(r Resource) []byte {
	return Frame("miosa-env reveal", strconv.Itoa(RevealVersion), SuiteXWing, r.Type, r.ID)
}

// Frame encodes parts, each after its length (8 bytes, big endian). Different lists have different encodings.
func Frame(parts ...string) []byte {
	size := 0
	for _, p := range parts {
		size += 8 + len(p)
	}
	return AppendFrame(make([]byte, 0, size), parts...)
}

// AppendFrame appends the Frame of parts to b.
func AppendFrame(b []byte, parts ...string) []byte {
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
