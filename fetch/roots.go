package fetch

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"os"

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

// quickRoots reads the system's bundle of root certificates, nil if there is none. Left to itself Go
// reads that bundle and then each of the hundreds of files beside it, nearly always the same
// certificates, which takes several times as long as all else the agent does before a command starts.
func quickRoots() *x509.CertPool {
	if os.Getenv("SSL_CERT_FILE") != "" || os.Getenv("SSL_CERT_DIR") != "" {
		return nil // somebody chose: Go follows
	}
	for _, path := range bundles {
		if pool, err := roots(path); err == nil {
			return pool
		}
	}
	return nil
}

// widen goes from the quick roots to all of the system's, after used met an authority it doesn't know.
// It tells whether that is worth another attempt.
func (c *Client) widen(used *http.Transport) bool {
	if !c.quick || used.TLSClientConfig.RootCAs == nil {
		return false
	}
	wide := used.Clone()
	wide.TLSClientConfig.RootCAs = nil
	c.transport.CompareAndSwap(used, wide)
	used.CloseIdleConnections()
	return true
}
