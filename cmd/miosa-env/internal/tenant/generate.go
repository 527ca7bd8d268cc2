package tenant

import (
	"crypto/rand"
	"errors"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Generated values have 43 of 62 characters by default, which are 256 bits.
const (
	generateAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	generateDefault  = "43"
	generateLeast    = 16
	generateMost     = 4096
)

// lengthValue is the length of a generated value.
func lengthValue(to *int) *setting.Value {
	return setting.Of("length", to, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < generateLeast || n > generateMost {
			return 0, errors.New("want a length from " + strconv.Itoa(generateLeast) + " to " + strconv.Itoa(generateMost) + " characters")
		}
		return n, nil
	}, func(int) string { return "" })
}

// generateValue returns random letters and digits, all equally likely.
func generateValue(length int) api.Value {
	const n = len(generateAlphabet)
	const fair = 256 / n * n // higher bytes would make the first letters more likely
	text := make([]byte, 0, length)
	random := make([]byte, 64)
	defer clear(random)
	for {
		_, _ = rand.Read(random) // never fails
		for _, b := range random {
			if len(text) == length {
				return api.NewValue(text)
			}
			if int(b) < fair {
				text = append(text, generateAlphabet[int(b)%n])
			}
		}
	}
}
