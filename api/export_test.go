package api

import "crypto/hpke"

// OpenerWith is like NewOpener with a given key pair.
func OpenerWith(r Resource, private hpke.PrivateKey) *Opener {
	return &Opener{resource: r, private: private}
}

// Info returns the info to which a reveal is bound.
func Info(r Resource) []byte { return info(r) }

// EncapsulatedSize is the length of the encapsulated key.
const EncapsulatedSize = encapsulatedSize

// ReadHeader is the hand-written parser of a set's header, DecodeHeader the one that uses encoding/json.
var (
	ReadHeader   = readHeader
	DecodeHeader = decodeHeader
)
