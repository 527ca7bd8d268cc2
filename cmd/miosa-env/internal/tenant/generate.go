package tenant

import (
	"crypto/rand"
	"errors"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// Of generated values. 43 characters of 62 are 256 bits.
const (
	generateAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	generateDefault  = "43"
	generateLeast    = 16
	generateMost     = 4096
)

// generated is the flag --generate[=LENGTH]: how many characters, 0 where it isn't given.
type generated int

// Set reads a length.
func (g *generated) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < generateLeast || n > generateMost {
		return errors.New("want a length from " + strconv.Itoa(generateLeast) + " to " + strconv.Itoa(generateMost) + " characters")
	}
	*g = generated(n)
	return nil
}

func (g *generated) String() string { return "" }

// Type is what pflag wants to know; nothing shows it.
func (g *generated) Type() string { return "length" }

// value makes so many letters and digits, each with the same chance.
func (g generated) value() api.Value {
	const n = len(generateAlphabet)
	const fair = 256 / n * n // of what is above, the first letters would come more often
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
