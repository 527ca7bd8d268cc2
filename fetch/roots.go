package fetch

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// roots reads a PEM file of root certificates.
func roots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, badCA("CA file "+path+": "+cause.Of(err).Error(), err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimPrefix(pem, []byte("\xef\xbb\xbf"))) { // a byte order mark
		return nil, badCA("CA file "+path+": no PEM certificate in it", nil)
	}
	return pool, nil
}

func badCA(message string, cause error) error {
	return &SettingError{message, "give a file with the authority's certificate in PEM: it holds a line -----BEGIN CERTIFICATE-----", cause}
}

// trustSystem has config trust the system's root certificates for connections to host, as crypto/tls does by itself, but
// parses only those that the server's certificates name: usually one of 150, and parsing all of them takes longer than
// the handshake. InsecureSkipVerify turns off the check of crypto/tls; verify makes the same one.
func trustSystem(config *tls.Config, host string) {
	switch {
	case fips140.Enabled(): // crypto/tls then restricts chains by rules that it doesn't export
		return
	case strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }): // net/http converts it to ASCII
		return
	}
	bundle := systemBundle()
	if bundle == nil {
		return
	}
	config.ServerName = host
	config.InsecureSkipVerify = true // VerifyConnection is called for each connection
	config.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, host, bundle) }
}

// systemBundle reads the file from which crypto/x509 takes the system's root certificates. It returns nil if there is
// none, or if it can be read only once, as a pipe can: crypto/x509 needs it then.
func systemBundle() []byte {
	paths := bundles
	if path := os.Getenv("SSL_CERT_FILE"); path != "" && len(bundles) > 0 {
		paths = []string{path}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue // as crypto/x509 does
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if bundle, err := os.ReadFile(path); err == nil {
			return bundle
		}
	}
	return nil
}

// verify checks the certificates that a server presented, its own first, as crypto/tls does: chain, validity, usage and
// host. It first trusts only the roots that the certificates name. If that fails for any reason, it trusts all of the
// system's, so that the result and the error are those of crypto/tls.
// Errors: *tls.CertificateVerificationError.
func verify(presented []*x509.Certificate, host string, bundle []byte) error {
	var names [][]byte
	options := x509.VerifyOptions{DNSName: host, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for i, c := range presented {
		names = append(names, c.RawIssuer)
		if i > 0 {
			options.Intermediates.AddCert(c)
		}
	}
	options.Roots.AppendCertsFromPEM(certificatesNaming(bundle, names))
	_, err := presented[0].Verify(options)
	if err != nil {
		options.Roots = nil // the system's
		_, err = presented[0].Verify(options)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: presented, Err: err}
	}
	return nil
}

// What surrounds a certificate in a bundle. The second begins with the end of the certificate's last line.
var (
	beginCertificate = []byte("-----BEGIN CERTIFICATE-----\n")
	endCertificate   = []byte("\n-----END CERTIFICATE-----\n")
)

const (
	// namesWithin is how many characters of a certificate's base64 are searched for its names. Those of nearly all roots
	// in use end before; the others are found among all the system's.
	namesWithin = 1024
	// maxNeedle is how many bytes at the end of a name are searched for: bytes.Index is slow for more than 63.
	maxNeedle = 32
)

// certificatesNaming returns the part of a PEM bundle whose certificates have one of the names, in DER, as their subject
// or issuer. If the bundle holds anything but certificates and plain comments, it returns all of it: encoding/pem
// decides then which of that is a certificate.
func certificatesNaming(bundle []byte, names [][]byte) []byte {
	var naming, joined []byte
	head := make([]byte, base64.StdEncoding.DecodedLen(namesWithin))
	for rest := bundle; ; {
		start := bytes.Index(rest, []byte("-----"))
		if start < 0 {
			return naming
		}
		block, text, ok := cutCertificate(rest[start:])
		if !ok || start > 0 && rest[start-1] != '\n' {
			return bundle
		}
		joined = joined[:0]
		for line := range bytes.SplitSeq(text[:min(len(text), namesWithin)], []byte("\n")) {
			joined = append(joined, line...) // encoding/base64 is seven times as fast without line feeds
		}
		n, _ := base64.StdEncoding.Decode(head, joined) // as much as is complete
		if slices.ContainsFunc(names, func(name []byte) bool { return bytes.Contains(head[:n], name[max(len(name)-maxNeedle, 0):]) }) {
			naming = append(naming, block...)
		}
		rest = rest[start+len(block):]
	}
}

// cutCertificate returns the certificate that PEM begins with, and the base64 in it. It returns false if there is none
// in the form in which bundles have them, without headers, which encoding/pem reads in one way only.
func cutCertificate(pem []byte) (block, text []byte, ok bool) {
	text, ok = bytes.CutPrefix(pem, beginCertificate)
	end := bytes.IndexByte(text, '-') - 1
	if !ok || end < 0 || !bytes.HasPrefix(text[end:], endCertificate) {
		return nil, nil, false
	}
	for _, c := range []byte(": \t") { // of a header, or left out by encoding/pem; IndexAny takes ten times as long
		if bytes.IndexByte(text[:end], c) >= 0 {
			return nil, nil, false
		}
	}
	return pem[:len(beginCertificate)+end+len(endCertificate)], text[:end], true
}
