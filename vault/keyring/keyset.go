package keyring

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/Miosa-osa/miosa-env/api"
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

// Generation is incremented whenever the keyset's content changes.
func (k *Keys) Generation() int64 { return k.generation }

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

// SealValue is Seal for a Value, which it doesn't wipe.
func (k *Keys) SealValue(v api.Value, secretID string, version int64, field string) (sealed []byte, err error) {
	v.Use(func(plain []byte) { sealed, err = k.seal(plain, secretID, version, field) })
	return sealed, err
}

// Seal encrypts one field of one version of a secret, and wipes plain.
func (k *Keys) Seal(plain []byte, secretID string, version int64, field string) ([]byte, error) {
	defer clear(plain)
	return k.seal(plain, secretID, version, field)
}

func (k *Keys) seal(plain []byte, secretID string, version int64, field string) (sealed []byte, err error) {
	aad := k.aad(secretID, version, field)
	api.Quietly(func() { sealed, err = k.aead.Encrypt(plain, aad) })
	if err != nil {
		return nil, fmt.Errorf("seal %s of secret %s: %w", field, secretID, err)
	}
	return sealed, nil
}

// Open decrypts one field. What was moved from another tenant, secret, version or field doesn't open. Call it in api.Quietly.
// Errors: api.ErrInternal.
func (k *Keys) Open(sealed []byte, secretID string, version int64, field string) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, k.aad(secretID, version, field))
	if err != nil {
		return nil, api.NewError(api.ErrInternal, "stored "+field+" of secret "+secretID+" doesn't open: it was altered, or belongs to another")
	}
	return plain, nil
}

// MACs are AEAD ciphertexts of nothing, with what they authenticate as associated data. So the keys that encrypt values also
// authenticate rows, and are rotated together.

// macAAD is api.Frame("miosa-vault row", k.tenant, string(row)).
func (k *Keys) macAAD(row []byte) []byte {
	const lengths = 3 * 8
	aad := make([]byte, 0, lengths+len("miosa-vault row")+len(k.tenant)+len(row))
	aad = api.AppendFrame(aad, "miosa-vault row", k.tenant)
	return append(binary.BigEndian.AppendUint64(aad, uint64(len(row))), row...)
}

// MAC returns a code that authenticates a row of the tenant, for Verify.
func (k *Keys) MAC(row []byte) ([]byte, error) {
	mac, err := k.aead.Encrypt(nil, k.macAAD(row))
	if err != nil {
		return nil, fmt.Errorf("authenticate a row: %w", err)
	}
	return mac, nil
}

// Verify reports whether mac is the row's, made with a key of the keyset.
func (k *Keys) Verify(mac, row []byte) bool {
	_, err := k.aead.Decrypt(mac, k.macAAD(row))
	return err == nil
}

// MACPrefix is how every MAC starts that is made with the current key.
func (k *Keys) MACPrefix() []byte {
	const tinkVersion = 1
	return binary.BigEndian.AppendUint32([]byte{tinkVersion}, uint32(k.primary))
}
