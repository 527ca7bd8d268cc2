package inject

import (
	"bytes"
	"os"

	"github.com/Miosa-osa/miosa-env/api"
)

// keysAround gives copies of a key and of those in the environment, where there are any. What is no key there stays:
// it may be a word that stands elsewhere too.
func keysAround(key api.Key) (all [][]byte) {
	if text := key.Reveal(); text != "" {
		all = append(all, []byte(text))
	}
	for _, name := range []string{"MIOSA_API_KEY", "MIOSA_TENANT_KEY"} {
		if other, err := api.ParseKey(os.Getenv(name)); err == nil {
			all = append(all, []byte(other.Reveal()))
		}
	}
	return all
}

// forget zeroes copies.
func forget(secrets [][]byte) {
	for _, secret := range secrets {
		clear(secret)
	}
}

// wipe zeroes each occurrence of a secret in b.
func wipe(b []byte, secrets [][]byte) {
	for _, secret := range secrets {
		for rest := b; ; {
			i := bytes.Index(rest, secret)
			if i < 0 {
				break
			}
			clear(rest[i : i+len(secret)])
			rest = rest[i+len(secret):]
		}
	}
}
