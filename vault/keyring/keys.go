package keyring

import (
	"fmt"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// Keys is the keyset of one tenant in one generation. It is immutable.
type Keys struct {
	opened
	tenant     string
	generation int64
}

// NewKeys generates the keyset of a new tenant.
func NewKeys(tenant string) (*Keys, error) {
	set, err := newKeyset()
	return &Keys{opened: set, tenant: tenant, generation: 1}, err
}

// Current is the id of the key that encrypts.
func (k *Keys) Current() int64 { return k.primary }

// Len is the number of keys: more than one during a rotation.
func (k *Keys) Len() int { return k.handle.Len() }

// WithNewKey returns the next generation of the keyset, with a new key that encrypts.
func (k *Keys) WithNewKey() (*Keys, error) { return k.next(opened.withNewPrimary) }

// CurrentOnly returns the next generation of the keyset, without its old keys.
func (k *Keys) CurrentOnly() (*Keys, error) { return k.next(opened.primaryOnly) }

func (k *Keys) next(change func(opened) (opened, error)) (*Keys, error) {
	changed, err := change(k.opened)
	return &Keys{opened: changed, tenant: k.tenant, generation: k.generation + 1}, err
}

func (k *Keys) aad(secretID string, version int64, field string) []byte {
	return api.Frame("miosa-vault secret", k.tenant, secretID, strconv.FormatInt(version, 10), field)
}

// Seal encrypts one field of one version of a secret, and wipes plain.
func (k *Keys) Seal(plain []byte, secretID string, version int64, field string) ([]byte, error) {
	defer clear(plain)
	sealed, err := k.aead.Encrypt(plain, k.aad(secretID, version, field))
	if err != nil {
		return nil, fmt.Errorf("seal %s of secret %s: %w", field, secretID, err)
	}
	return sealed, nil
}

// Open decrypts one field. What was moved from another tenant, secret, version or field doesn't open.
// Errors: api.ErrInternal.
func (k *Keys) Open(sealed []byte, secretID string, version int64, field string) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, k.aad(secretID, version, field))
	if err != nil {
		return nil, api.NewError(api.ErrInternal, "stored "+field+" of secret "+secretID+" doesn't open: it was altered, or belongs to another")
	}
	return plain, nil
}
