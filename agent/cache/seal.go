package cache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/api"
)

// A cache's file is a header in the clear, and one AES-256-GCM message whose additional data is that header:
//
//	magic     "miosa-env cache\n"
//	version   1 byte, 2
//	salt      32 bytes, fresh for each file
//	nonce     12 bytes
//	saved     8 bytes, big-endian: nanoseconds since 1970
//	sealed    to the end: the encoding of a set, see api.Snapshot
//
// The key is HKDF-SHA256 of the resource key with that salt.
const (
	magic       = "miosa-env cache\n"
	version     = 2
	keyInfo     = "miosa-env cache 2"
	saltBytes   = 32
	nonceBytes  = 12
	headerBytes = len(magic) + 1 + saltBytes + nonceBytes + 8
)

// cipher returns the cipher of files with this salt.
func (c *Cache) cipher(salt []byte) (cipher.AEAD, error) {
	var key []byte
	var err error
	now := c.conf.Key
	if c.conf.KeyNow != nil {
		now = c.conf.KeyNow()
	}
	now.Use(func(secret []byte) { key, err = hkdf.Key(sha256.New, secret, salt, keyInfo, 32) })
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

// seal returns the file of a set. The plaintext is in locked memory meanwhile.
func (c *Cache) seal(s api.Snapshot, at time.Time) ([]byte, error) {
	if s.Resource != c.conf.Resource {
		return nil, errForeign
	}
	var plain *memory.Region
	encoded, err := s.Encode(func(size int) []byte {
		plain = memory.New(size)
		return plain.Bytes()
	})
	defer plain.Free()
	if err != nil {
		return nil, err
	}
	random := make([]byte, saltBytes+nonceBytes)
	_, _ = rand.Read(random)
	header := make([]byte, 0, headerBytes+len(encoded)+16)
	header = append(append(header, magic...), version)
	header = append(header, random...)
	header = binary.BigEndian.AppendUint64(header, uint64(at.UnixNano()))
	aead, err := c.cipher(random[:saltBytes])
	if err != nil {
		return nil, err
	}
	var file []byte
	api.Quietly(func() { file = aead.Seal(header, random[saltBytes:], encoded, header) })
	return file, nil
}

// open opens a file completely or not at all.
func (c *Cache) open(file []byte) (api.Snapshot, time.Time, error) {
	if len(file) < headerBytes || string(file[:len(magic)]) != magic || file[len(magic)] != version {
		return api.Snapshot{}, time.Time{}, errDamaged
	}
	header, sealed := file[:headerBytes], file[headerBytes:]
	rest := header[len(magic)+1:]
	salt, nonce, saved := rest[:saltBytes], rest[saltBytes:saltBytes+nonceBytes], rest[saltBytes+nonceBytes:]
	aead, err := c.cipher(salt)
	if err != nil || len(sealed) < aead.Overhead() {
		return api.Snapshot{}, time.Time{}, errDamaged
	}
	plain := memory.New(len(sealed) - aead.Overhead())
	api.Quietly(func() { _, err = aead.Open(plain.Bytes()[:0], nonce, sealed, header) })
	if err != nil {
		plain.Free()
		return api.Snapshot{}, time.Time{}, errDamaged
	}
	s, err := api.DecodeSnapshot(plain.Bytes(), plain.Value)
	switch {
	case err != nil: // only a holder of the key could have made it
		err = errDamaged
	case s.Resource != c.conf.Resource:
		err = errForeign
	default:
		return s, time.Unix(0, int64(binary.BigEndian.Uint64(saved))), nil
	}
	plain.Free()
	return api.Snapshot{}, time.Time{}, err
}
