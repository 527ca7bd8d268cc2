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

func newHandle() (*keyset.Handle, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("create keyset: %w", err)
	}
	return h, nil
}

func open(h *keyset.Handle) (opened, error) {
	a, err := aead.New(h)
	if err != nil {
		return opened{}, fmt.Errorf("use keyset: %w", err)
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
	return o.edit("add key", func(m *keyset.Manager) error {
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		if err != nil {
			return err
		}
		return m.SetPrimary(id)
	})
}

// primaryOnly returns the keyset without its old keys.
func (o opened) primaryOnly() (opened, error) {
	return o.edit("drop key", func(m *keyset.Manager) error {
		for _, k := range o.handle.KeysetInfo().GetKeyInfo() {
			if int64(k.GetKeyId()) == o.primary {
				continue
			}
			if err := m.Delete(k.GetKeyId()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o opened) edit(what string, change func(*keyset.Manager) error) (opened, error) {
	m := keyset.NewManagerFromHandle(o.handle)
	if err := change(m); err != nil {
		return opened{}, fmt.Errorf("%s: %w", what, err)
	}
	h, err := m.Handle()
	if err != nil {
		return opened{}, fmt.Errorf("%s: %w", what, err)
	}
	return open(h)
}
