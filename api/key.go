package api

import (
	"crypto/rand"
	"errors"
	"strings"
	"unicode"
)

// The first characters of a key say what it may do.
const (
	TenantKeyPrefix   = "msk_u_" // all of the public API; reads no plaintext
	ResourceKeyPrefix = "msk_r_" // lists and reveals one resource's bindings
)

// ErrMalformedKey says that a key isn't one, without repeating it.
var ErrMalformedKey = errors.New("malformed key: want msk_r_... or msk_u_... on one line")

// A key is msk_, 1 to 8 lower-case letters, an underscore, and 16 to 512 letters, digits, underscores
// and hyphens. The forms of this package are read by hand: compiling regular expressions for them took
// longer, at every start of the agent, than all else it initialises.
const (
	keyStart             = "msk_"
	minSecret, maxSecret = 16, 512
	maxPurpose           = 8
)

// Key is a bearer key. Like a Value, nothing can print or marshal it.
type Key struct{ Value }

// ParseKey reads a key as a person, a file or an environment carries it; white space around it and a byte order
// mark are dropped. Its error never repeats the key.
func ParseKey(s string) (Key, error) {
	s = strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
	head := keyHead(s)
	if rest := len(s) - head; head == 0 || rest < minSecret || rest > maxSecret || keyRun(s[head:]) != rest {
		return Key{}, ErrMalformedKey
	}
	return Key{NewValue([]byte(s))}, nil
}

// NewKey mints a key with the given prefix and at least 256 random bits.
func NewKey(prefix string) Key {
	return Key{NewValue([]byte(prefix + strings.ToLower(rand.Text()+rand.Text())))} // 130 bits each
}

// ForTenant tells whether the key is a tenant's, by its prefix.
func (k Key) ForTenant() bool { return strings.HasPrefix(k.Reveal(), TenantKeyPrefix) }

// RedactKeys returns s with everything that looks like a key replaced, whatever its length: the last
// guard in front of messages that repeat what a person typed.
func RedactKeys(s string) string {
	var out strings.Builder
	for {
		at := strings.Index(s, keyStart)
		if at < 0 {
			break
		}
		out.WriteString(s[:at])
		s = s[at:]
		if head := keyHead(s); head > 0 {
			if run := keyRun(s[head:]); run > 0 {
				out.WriteString(keyStart + Redacted)
				s = s[head+run:]
				continue
			}
		}
		out.WriteString(keyStart)
		s = s[len(keyStart):]
	}
	if out.Len() == 0 {
		return s
	}
	out.WriteString(s)
	return out.String()
}

// keyHead returns the length of the msk_PURPOSE_ that s starts with, 0 if it doesn't.
func keyHead(s string) int {
	if !strings.HasPrefix(s, keyStart) {
		return 0
	}
	for i := len(keyStart); i < len(s) && i <= len(keyStart)+maxPurpose; i++ {
		switch c := s[i]; {
		case c == '_' && i > len(keyStart):
			return i + 1
		case c < 'a' || c > 'z':
			return 0
		}
	}
	return 0
}

// keyRun returns how many bytes s starts with that may stand in a key's secret part.
func keyRun(s string) int {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return i
		}
	}
	return len(s)
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
