package broker

import (
	"encoding/asn1"
	"strconv"
	"unicode/utf16"
)

// The structures of PKCS #12 that a trust store needs. Source: RFC 7292, section 4 and appendix D.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      certBag     `asn1:"explicit,tag:0"`
		Attributes []attribute `asn1:"set"`
	}
	certBag struct {
		ID          asn1.ObjectIdentifier
		Certificate []byte `asn1:"explicit,tag:0"`
	}
	attribute struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
)

// trustStoreOf returns certificates (DER) as a trust store for Java: PKCS #12 without encryption and without a checksum, for which
// Java needs no password.
//
// Libraries for PKCS #12 also read and encrypt it. What they link makes the file 60 KB larger, and each start slower.
func trustStoreOf(list [][]byte) ([]byte, error) {
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	// Java trusts certificates with this attribute, for all purposes.
	trusted, err := asn1.Marshal(asn1.ObjectIdentifier{2, 5, 29, 37, 0})
	if err != nil {
		return nil, err
	}
	bags := make([]safeBag, len(list))
	for i, der := range list {
		bags[i] = safeBag{
			ID:    asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3},
			Value: certBag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}, der},
			Attributes: []attribute{
				{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}, []asn1.RawValue{{Tag: asn1.TagBMPString, Bytes: bmp(strconv.Itoa(i + 1))}}}, // the alias
				{asn1.ObjectIdentifier{2, 16, 840, 1, 113894, 746875, 1, 1}, []asn1.RawValue{{FullBytes: trusted}}},
			},
		}
	}
	var text []byte
	for _, layer := range []func(inner []byte) any{
		func([]byte) any { return bags },
		func(inner []byte) any { return []contentInfo{{data, inner}} },
		func(inner []byte) any { return pfx{3, contentInfo{data, inner}} },
	} {
		if text, err = asn1.Marshal(layer(text)); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// bmp returns a text as a BMPString.
func bmp(text string) (out []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit>>8), byte(unit))
	}
	return out
}
