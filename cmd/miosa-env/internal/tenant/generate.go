package tenant

import (
	"crypto/rand"
	"errors"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// Generated values have 43 of 62 characters by default, which are 256 bits.
const (
	generateAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	generateDefault  = "43"
	generateLeast    = 16
	generateMost     = 4096
)

// generated is the flag --generate[=LENGTH]: a number of characters; 0 if it isn't given.
type generated int

// Set parses a length.
func (g *generated) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < generateLeast || n > generateMost {
		return errors.New("want a length from " + strconv.Itoa(generateLeast) + " to " + strconv.Itoa(generateMost) + " characters")
	}
	*g = generated(n)
	return nil
}

func (g *generated) String() string { return "" }

// Type implements pflag.Value.
func (g *generated) Type() string { return "length" }

// value returns random letters and digits, all equally likely.
func (g generated) value() api.Value {
	const n = len(generateAlphabet)
	const fair = 256 / n * n // higher bytes would make the first letters more likely
	text := make([]byte, 0, g)
	random := make([]byte, 64)
	defer clear(random)
	for {
		_, _ = rand.Read(random) // never fails
		for _, b := range random {
			if len(text) == int(g) {
				return api.NewValue(text)
			}
			if int(b) < fair {
				text = append(text, generateAlphabet[int(b)%n])
			}
		}
	}
}
