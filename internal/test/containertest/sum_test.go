package containertest

import (
	"crypto/sha256"
	"fmt"
)

// sum returns the checksum that the app prints for a value.
func sum(value string) string {
	h := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%x", h[:8])
}
