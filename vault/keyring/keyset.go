package keyring

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// opened is a keyset that is ready for use. It is immutable.
type opened struct {
	handle  *keyset.Handle
	aead    tink.AEAD
	primary int64 // id of the key that encrypts
}

func newKeyset() (opened, error) { return open(keyset.NewHandle(aead.AES256GCMKeyTemplate())) }

// open returns the keyset that a call of Tink has returned, or its error.
func open(h *keyset.Handle, err error) (opened, error) {
	if err != nil {
		return opened{}, fmt.Errorf("keyset: %w", err)
	}
	a, err := aead.New(h)
	if err != nil {
		return opened{}, fmt.Errorf("keyset: %w", err)
	}
	return opened{handle: h, aead: a, primary: int64(h.KeysetInfo().GetPrimaryKeyId())}, nil
}

func (o opened) has(keyID int64) bool {
	for _, k := range o.handle.KeysetInfo().GetKeyInfo() {
		if int64(k.GetKeyId()) == keyID {
			return true
		}
	}
	return false
}

// withNewPrimary returns the keyset with a new key that encrypts; the old keys still decrypt.
func (o opened) withNewPrimary() (opened, error) {
	m := keyset.NewManagerFromHandle(o.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return opened{}, fmt.Errorf("add key: %w", err)
	}
	return open(m.Handle())
}

// primaryOnly returns the keyset without its old keys.
func (o opened) primaryOnly() (opened, error) {
	m := keyset.NewManagerFromHandle(o.handle)
	for _, k := range o.handle.KeysetInfo().GetKeyInfo() {
		if int64(k.GetKeyId()) == o.primary {
			continue
		}
		if err := m.Delete(k.GetKeyId()); err != nil {
			return opened{}, fmt.Errorf("drop key: %w", err)
		}
	}
	return open(m.Handle())
}
