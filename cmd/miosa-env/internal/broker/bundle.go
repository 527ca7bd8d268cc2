package broker

import (
	"bytes"
	"encoding/pem"

	"github.com/Miosa-osa/miosa-env/fetch"
)

// systemRoots are the files with the certificate authorities of Linux systems, of which the first that exists is used.
var systemRoots = fetch.SystemRoots

// roots returns the certificates (DER, each once) that a command trusts without the broker: those in the files that its variables
// name, and those of the system unless SSL_CERT_FILE names others. A file that can't be read has none.
func roots(get func(name string) string) [][]byte {
	var all []byte
	add := func(path string) bool {
		text, err := readLimited(path)
		all = append(append(all, text...), '\n')
		return err == nil
	}
	for _, name := range bundles {
		if path := get(name); path != "" {
			add(path)
		}
	}
	if get("SSL_CERT_FILE") == "" {
		for _, path := range systemRoots {
			if add(path) {
				break
			}
		}
	}
	return certificates(all)
}

// bundleOf returns certificates as PEM.
func bundleOf(list [][]byte) []byte {
	var out bytes.Buffer
	for _, der := range list {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a bytes.Buffer takes everything
	}
	return out.Bytes()
}
