package containertest

import (
	"crypto/sha256"
	"fmt"
)

// sum is how the app shows a value.
func sum(value string) string {
	h := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%x", h[:8])
}
