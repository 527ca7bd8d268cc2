package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"
)

// errFile is the error of Parse. It has nothing of the text.
var errFile = errors.New("want the certificate and the key of a certificate authority that this program wrote, as PEM")

// errExpired is the error of an authority whose certificate has expired.
var errExpired = errors.New("the certificate authority has expired")

// Marshal returns the certificate and the private key as PEM, for an authority that outlives this process. Anyone with the key
// can pose as any server to clients that trust the authority.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return slices.Concat(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), nil
}

// errMismatch is the error of an authority that was made with other arguments.
var errMismatch = errors.New("the certificate authority is that of another resource, or for other hosts")

// Parse reads what Marshal returned, of an authority that New has made with the same arguments. It fails if the authority has expired.
func Parse(text []byte, resource string, hosts []string) (*Authority, error) {
	var der []byte
	var key *ecdsa.PrivateKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			der = block.Bytes
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errFile
			}
			key, _ = parsed.(*ecdsa.PrivateKey)
		}
	}
	if der == nil || key == nil || key.Curve != elliptic.P256() {
		return nil, errFile
	}
	a, err := load(der, key)
	switch {
	case err != nil || !a.certificate.IsCA || !key.PublicKey.Equal(a.certificate.PublicKey):
		return nil, errFile
	case time.Now().After(a.certificate.NotAfter):
		return nil, errExpired
	}
	var want x509.Certificate
	if err := constrain(&want, hosts); err != nil {
		return nil, err
	}
	if a.certificate.Subject.CommonName != commonName(resource) || !sameConstraints(a.certificate, &want) {
		return nil, errMismatch
	}
	return a, nil
}

// sameConstraints reports whether two certificates permit the same hosts, in any order.
func sameConstraints(a, b *x509.Certificate) bool {
	of := func(c *x509.Certificate) []string {
		list := slices.Clone(c.PermittedDNSDomains)
		for _, n := range c.PermittedIPRanges {
			list = append(list, n.String())
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	return slices.Equal(of(a), of(b))
}
