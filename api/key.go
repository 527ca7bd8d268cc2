package api

import (
	"crypto/rand"
	"errors"
	"strings"
	"unicode"
)

// The prefixes of keys.
const (
	TenantKeyPrefix   = "msk_u_" // the public API, all of it or, if the key is restricted, some; it can't reveal
	ResourceKeyPrefix = "msk_r_" // lists and reveals one resource's bindings
	BrokerKeyPrefix   = "msk_b_" // reveals to a broker what some resources get placeholders for

	// RootKeyPrefix is that of a vault's root key, which is no bearer key: it decrypts the vault's data, and is never sent.
	RootKeyPrefix = "msk_root_"
)

// ErrMalformedKey is the error of ParseKey. It doesn't contain the key.
var ErrMalformedKey = errors.New("malformed key: want msk_r_... or msk_u_... on one line")

// ErrRootKey is the error for a vault's root key where a key to send is wanted. It has a hint, and doesn't contain the key.
var ErrRootKey error = rootKeyError{}

type rootKeyError struct{}

func (rootKeyError) Error() string {
	return "the root key of a vault (" + RootKeyPrefix + "...), which decrypts all of its secrets and is never sent"
}

func (rootKeyError) Hint() string {
	return "keep it on the vault's machine, and use a key that miosa-env keys create has created"
}

// A key is msk_, 1 to 8 lower-case letters, an underscore, and 16 to 512 letters, digits, underscores
// and hyphens. It isn't parsed with a regular expression: compiling one takes too long at each start of the agent.
const (
	keyStart             = "msk_"
	minSecret, maxSecret = 16, 512
	maxPurpose           = 8
)

// Key is a bearer key. Like any Value it can't be printed or marshaled.
type Key struct{ Value }

// ParseKey parses a key. It ignores white space around the key, and a byte order mark. Errors: ErrMalformedKey.
func ParseKey(s string) (Key, error) {
	s = strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
	rest, ok := strings.CutPrefix(s, keyStart)
	purpose := purposeLen(rest)
	if n := len(rest) - purpose; !ok || purpose == 0 || n < minSecret || n > maxSecret || keyRun(rest[purpose:]) != n {
		return Key{}, ErrMalformedKey
	}
	return Key{NewValue([]byte(s))}, nil
}

// NewKey generates a key with the given prefix and at least 256 random bits.
func NewKey(prefix string) Key {
	return Key{NewValue([]byte(prefix + strings.ToLower(rand.Text()+rand.Text())))} // 130 bits each
}

// ForTenant reports whether the key is a tenant key.
func (k Key) ForTenant() bool { return strings.HasPrefix(k.Reveal(), TenantKeyPrefix) }

// ForBroker reports whether the key is a broker key.
func (k Key) ForBroker() bool { return strings.HasPrefix(k.Reveal(), BrokerKeyPrefix) }

// CheckSent returns ErrRootKey for the root key of a vault, of any length. Whatever sends keys calls it first.
func (k Key) CheckSent() error {
	if strings.HasPrefix(k.Reveal(), RootKeyPrefix) {
		return ErrRootKey
	}
	return nil
}

// RedactKeys returns s with everything that looks like a key, of any length, replaced. Messages that may contain
// arguments pass through it.
func RedactKeys(s string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, keyStart)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString(keyStart)
		purpose := purposeLen(after)
		if secret := keyRun(after[purpose:]); purpose > 0 && secret > 0 {
			out.WriteString(Redacted)
			after = after[purpose+secret:]
		}
		s = after
	}
}

// purposeLen returns the length of the purpose and underscore of a key, given what follows msk_; 0 if there is none.
func purposeLen(s string) int {
	n := strings.IndexByte(s[:min(len(s), maxPurpose+1)], '_')
	if n < 1 || strings.Trim(s[:n], "abcdefghijklmnopqrstuvwxyz") != "" {
		return 0
	}
	return n + 1
}

// keyRun returns the number of bytes at the start of s that a key's random part may have.
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
