package fetch

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/internal/cause"
)

// SystemRoots are the files in which Linux distributions keep all root certificates, in the order of crypto/x509. Go uses the
// certificate stores of other systems.
var SystemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",                            // openSUSE
	"/etc/pki/tls/cacert.pem",                           // OpenELEC
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and newer
	"/etc/ssl/cert.pem",                                 // Alpine
}

// roots reads a PEM file of root certificates.
func roots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, badCA(path, cause.Of(err).Error(), err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimPrefix(pem, []byte("\xef\xbb\xbf"))) { // a byte order mark
		return nil, badCA(path, "no PEM certificate in it", nil)
	}
	return pool, nil
}

func badCA(path, message string, cause error) error {
	return &Problem{
		Message: "CA file " + path + ": " + message, cause: cause,
		Fix: "give a file with the authority's certificate in PEM: it holds a line -----BEGIN CERTIFICATE-----",
	}
}

// trustSystem makes config trust the system's root certificates for connections to host, as crypto/tls does by default, but
// parses only those that the server's certificates name, usually one of 150: parsing all of them takes longer than the
// handshake. InsecureSkipVerify disables the verification of crypto/tls; verify does the same.
func trustSystem(config *tls.Config, host string) {
	converted := strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) // net/http converts it to ASCII
	bundle := systemBundle()
	if bundle == nil || converted || fips140.Enabled() { // with FIPS 140, crypto/tls restricts chains by internal rules
		return
	}
	config.ServerName = host
	config.InsecureSkipVerify = true // VerifyConnection verifies each connection
	config.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, host, bundle) }
}

// systemBundle reads the file from which crypto/x509 loads the system's root certificates. It returns nil if there is none,
// or if it isn't a regular file: a pipe can be read only once, which is for crypto/x509.
func systemBundle() []byte {
	if runtime.GOOS != "linux" {
		return nil
	}
	paths := SystemRoots
	if path := os.Getenv("SSL_CERT_FILE"); path != "" {
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

// verify verifies the certificates that a server presented, its own first, as crypto/tls does: chain, validity, usage and
// host. It first trusts only the roots that the certificates name. If that fails, it trusts all of the system's, so that
// the result and the error are those of crypto/tls.
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

// The lines around a certificate in a bundle. The second starts with the end of the certificate's last line.
var (
	beginCertificate = []byte("-----BEGIN CERTIFICATE-----\n")
	endCertificate   = []byte("\n-----END CERTIFICATE-----\n")
)

const (
	// namesWithin is the number of base64 characters of a certificate that are searched for its names. It suffices for
	// nearly all roots in use; verify finds the others among all the system's.
	namesWithin = 1024
	// maxNeedle is the number of bytes at the end of a name that are searched for: bytes.Index is slow for more than 63.
	maxNeedle = 32
)

// certificatesNaming returns the certificates in a PEM bundle that have one of the names, in DER, as their subject or
// issuer. If the bundle contains anything except certificates and comments, it returns the whole bundle, so that
// encoding/pem decides what is a certificate.
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
			joined = append(joined, line...) // encoding/base64 is seven times faster without line feeds
		}
		n, _ := base64.StdEncoding.Decode(head, joined) // all complete groups
		if slices.ContainsFunc(names, func(name []byte) bool { return bytes.Contains(head[:n], name[max(len(name)-maxNeedle, 0):]) }) {
			naming = append(naming, block...)
		}
		rest = rest[start+len(block):]
	}
}

// cutCertificate returns the certificate at the start of pem, and its base64. It returns false unless the certificate has
// the usual form in such files, without headers, which encoding/pem reads in only one way.
func cutCertificate(pem []byte) (block, text []byte, ok bool) {
	text, ok = bytes.CutPrefix(pem, beginCertificate)
	end := bytes.IndexByte(text, '-') - 1
	if !ok || end < 0 || !bytes.HasPrefix(text[end:], endCertificate) {
		return nil, nil, false
	}
	for _, c := range []byte(": \t") { // in a header, or ignored by encoding/pem; IndexAny is ten times slower
		if bytes.IndexByte(text[:end], c) >= 0 {
			return nil, nil, false
		}
	}
	return pem[:len(beginCertificate)+end+len(endCertificate)], text[:end], true
}
