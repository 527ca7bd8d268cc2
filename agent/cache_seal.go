package agent

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// A cache's file is a header in the clear, which says nothing that an ETag doesn't, and one AES-256-GCM
// message whose additional data is that header:
//
//	magic     "miosa-env cache\n"
//	version   1 byte, 1
//	salt      32 bytes, fresh for each file
//	nonce     12 bytes
//	saved     8 bytes, nanoseconds since 1970
//	resource  2 bytes of length, then as api.Resource prints
//	etag      2 bytes of length, then the etag
//	sealed    to the end
//
// The key is HKDF-SHA256 of the resource key with that salt. Sealed are 4 bytes of length, the labels as
// JSON with each value's length, and then the values, one after the other. Numbers are big-endian.
const (
	cacheMagic   = "miosa-env cache\n"
	cacheVersion = 1
	cacheInfo    = "miosa-env cache 1"
	saltBytes    = 32
	nonceBytes   = 12
)

var errWiped = errors.New("the set was wiped meanwhile")

// sealedLabel is one binding in a cache, without its value.
type sealedLabel struct {
	api.Label
	api.About
	Length int `json:"length"` // of its value, in bytes
}

// cipher is what opens a file with this salt.
func (c *Cache) cipher(salt []byte) (cipher.AEAD, error) {
	var key []byte
	var err error
	c.conf.Key.Use(func(secret []byte) { key, err = hkdf.Key(sha256.New, secret, salt, cacheInfo, 32) })
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal gives the file of a set. The plaintext stands, for that time, where no dump sees it.
func (c *Cache) seal(s api.Snapshot, at time.Time) ([]byte, error) {
	if s.Resource != c.conf.Resource || len(s.Etag) > 1<<15 {
		return nil, ErrCacheForeign
	}
	labels, total := make([]sealedLabel, len(s.Bound)), 0
	for i, b := range s.Bound {
		labels[i] = sealedLabel{b.Label, b.About, b.Value.Len()}
		total += labels[i].Length
	}
	head, err := json.Marshal(labels)
	if err != nil {
		return nil, err
	}
	plain := newRegion(4 + len(head) + total)
	defer plain.free()
	binary.BigEndian.PutUint32(plain.bytes, uint32(len(head)))
	end := 4 + copy(plain.bytes[4:], head)
	api.Quietly(func() {
		for i, b := range s.Bound {
			n := 0
			b.Value.Use(func(v []byte) { n = copy(plain.bytes[end:], v) })
			if n != labels[i].Length {
				err = errWiped
			}
			end += n
		}
	})
	if err != nil {
		return nil, err
	}
	header := make([]byte, 0, 256+len(plain.bytes)+16)
	header = append(header, cacheMagic...)
	header = append(header, cacheVersion)
	random := make([]byte, saltBytes+nonceBytes)
	_, _ = rand.Read(random)
	header = append(header, random...)
	header = binary.BigEndian.AppendUint64(header, uint64(at.UnixNano()))
	for _, text := range []string{s.Resource.String(), s.Etag} {
		header = binary.BigEndian.AppendUint16(header, uint16(len(text)))
		header = append(header, text...)
	}
	aead, err := c.cipher(random[:saltBytes])
	if err != nil {
		return nil, err
	}
	var file []byte
	api.Quietly(func() { file = aead.Seal(header, random[saltBytes:], plain.bytes, header) })
	return file, nil
}

// open reads a file, whole or not at all.
func (c *Cache) open(file []byte) (api.Snapshot, time.Time, error) {
	rest, ok := bytes.CutPrefix(file, []byte(cacheMagic))
	if !ok || len(rest) < 1+saltBytes+nonceBytes+8 || rest[0] != cacheVersion {
		return api.Snapshot{}, time.Time{}, ErrCacheDamaged
	}
	salt, rest := rest[1:1+saltBytes], rest[1+saltBytes:]
	nonce, rest := rest[:nonceBytes], rest[nonceBytes:]
	at := time.Unix(0, int64(binary.BigEndian.Uint64(rest)))
	resource, rest, ok1 := cutText(rest[8:])
	etag, sealed, ok2 := cutText(rest)
	aead, err := c.cipher(salt)
	if err != nil || !ok1 || !ok2 || len(sealed) < aead.Overhead() {
		return api.Snapshot{}, time.Time{}, ErrCacheDamaged
	}
	if resource != c.conf.Resource.String() {
		return api.Snapshot{}, time.Time{}, ErrCacheForeign
	}
	plain := newRegion(len(sealed) - aead.Overhead())
	api.Quietly(func() { _, err = aead.Open(plain.bytes[:0], nonce, sealed, file[:len(file)-len(sealed)]) })
	if err != nil {
		plain.free()
		return api.Snapshot{}, time.Time{}, ErrCacheDamaged
	}
	set, ok := values(plain)
	if !ok { // only whoever has the key could have made it
		plain.free()
		return api.Snapshot{}, time.Time{}, ErrCacheDamaged
	}
	return api.Snapshot{Resource: c.conf.Resource, Etag: etag, Bound: set}, at, nil
}

// values cuts the plaintext of a cache into its values, which stay where they are.
func values(plain *region) ([]api.Bound, bool) {
	if len(plain.bytes) < 4 {
		return nil, false
	}
	at := 4 + int(binary.BigEndian.Uint32(plain.bytes))
	if at > len(plain.bytes) {
		return nil, false
	}
	var labels []sealedLabel
	if json.Unmarshal(plain.bytes[4:at], &labels) != nil {
		return nil, false
	}
	set := make([]api.Bound, len(labels))
	for i, l := range labels {
		if l.Length < 0 || l.Length > len(plain.bytes)-at {
			return nil, false
		}
		set[i] = api.Bound{Label: l.Label, About: l.About, Value: plain.value(at, l.Length)}
		at += l.Length
	}
	return set, at == len(plain.bytes)
}

// cutText takes a text behind its length.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b)-2 < n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}
