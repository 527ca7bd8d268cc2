package inject

import "bytes"

// wipe zeroes each occurrence of secret in b.
func wipe(b, secret []byte) {
	for {
		i := bytes.Index(b, secret)
		if i < 0 {
			return
		}
		clear(b[i : i+len(secret)])
		b = b[i+len(secret):]
	}
}
