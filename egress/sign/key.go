package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"strings"
)

// signer returns a function that signs texts with a secret access key, or nil if the algorithm is unknown or no key can be derived.
func (a algorithm) signer(secret []byte, id, scope string) func(text []byte) []byte {
	switch a {
	case v4:
		key := derive(secret, scope)
		return func(text []byte) []byte { return mac(key, text) }
	case v4a:
		key := deriveECDSA(secret, id)
		if key == nil {
			return nil
		}
		return func(text []byte) []byte {
			hash := sha256.Sum256(text)
			signature, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
			if err != nil {
				panic(err) // only if the hash or the key were of another size
			}
			return signature
		}
	}
	return nil
}

// verifier returns a function that checks signatures of texts, or nil as signer does.
func (a algorithm) verifier(secret []byte, id, scope string) func(text, signature []byte) bool {
	switch a {
	case v4:
		key := derive(secret, scope)
		return func(text, signature []byte) bool { return hmac.Equal(mac(key, text), signature) }
	case v4a:
		key := deriveECDSA(secret, id)
		if key == nil {
			return nil
		}
		return func(text, signature []byte) bool {
			hash := sha256.Sum256(text)
			return ecdsa.VerifyASN1(&key.PublicKey, hash[:], signature)
		}
	}
	return nil
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// derive returns the signing key of version 4 for a scope.
func derive(secret []byte, scope string) []byte {
	key := append([]byte("AWS4"), secret...)
	for part := range strings.SplitSeq(scope, "/") {
		next := mac(key, []byte(part))
		clear(key)
		key = next
	}
	return key
}

// deriveECDSA returns the key of version 4a: NIST SP 800-108 in counter mode, until the result is a private key.
func deriveECDSA(secret []byte, id string) *ecdsa.PrivateKey {
	input := append([]byte("AWS4A"), secret...)
	defer clear(input)
	last := new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(2))
	for counter := byte(1); counter < 255; counter++ {
		fixed := []byte("\x00\x00\x00\x01" + string(v4a) + "\x00" + id + string(counter) + "\x00\x00\x01\x00")
		d := new(big.Int).SetBytes(mac(input, fixed))
		if d.Cmp(last) > 0 {
			continue
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.Add(d, big.NewInt(1)).FillBytes(make([]byte, 32)))
		if err != nil {
			return nil
		}
		return key
	}
	return nil
}
