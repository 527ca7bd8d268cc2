package api

import "crypto/hpke"

// OpenerWith is NewOpener with a key pair that is known.
func OpenerWith(r Resource, private hpke.PrivateKey) *Opener {
	return &Opener{resource: r, private: private}
}

// Info is what an answer is bound to.
func Info(r Resource, etag string) []byte { return info(r, etag) }

// ReadHeader reads the header of a set by hand, and DecodeHeader by encoding/json.
var (
	ReadHeader   = readHeader
	DecodeHeader = decodeHeader
)
