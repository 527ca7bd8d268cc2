package vault

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/Miosa-osa/miosa-env/api"
)

// errStaleSnapshot: a snapshot shows a keyset wrapped with a root key that was retired since. A
// newer snapshot shows it wrapped with the next.
var errStaleSnapshot = errors.New("a tenant's keyset is wrapped with a root key that isn't in the root keyset")

var errRootMoved = api.NewError(api.ErrUnavailable, "the root key was rotated: this vault must be given the new one")

// keyring opens tenants' keysets with the root keyset and keeps those it has opened.
type keyring struct {
	source RootKey

	mu      sync.Mutex             // guards the fields below
	root    *box                   // the root keyset
	tenants map[string]*tenantKeys // by tenant id: the newest generation seen
}

// box is an opened keyset.
type box struct {
	handle  *keyset.Handle
	aead    tink.AEAD
	primary int64 // id of the key that seals
}

// tenantKeys is one tenant's keyset in one generation: a pair that never changes meaning.
type tenantKeys struct {
	box
	tenant     string
	generation int64
}

func newBox(h *keyset.Handle) (box, error) {
	a, err := aead.New(h)
	if err != nil {
		return box{}, fmt.Errorf("use keyset: %w", err)
	}
	return box{handle: h, aead: a, primary: int64(h.KeysetInfo().GetPrimaryKeyId())}, nil
}

func (b box) has(keyID int64) bool {
	for _, k := range b.handle.KeysetInfo().GetKeyInfo() {
		if int64(k.GetKeyId()) == keyID {
			return true
		}
	}
	return false
}

// withNewPrimary returns the keyset with a new key that seals from now on; the old ones still open.
func (b box) withNewPrimary() (box, error) {
	m := keyset.NewManagerFromHandle(b.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return box{}, fmt.Errorf("add key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return box{}, fmt.Errorf("add key: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return box{}, fmt.Errorf("add key: %w", err)
	}
	return newBox(h)
}

// primaryOnly returns the keyset without its old keys.
func (b box) primaryOnly() (box, error) {
	m := keyset.NewManagerFromHandle(b.handle)
	for _, k := range b.handle.KeysetInfo().GetKeyInfo() {
		if int64(k.GetKeyId()) == b.primary {
			continue
		}
		if err := m.Delete(k.GetKeyId()); err != nil {
			return box{}, fmt.Errorf("drop key: %w", err)
		}
	}
	h, err := m.Handle()
	if err != nil {
		return box{}, fmt.Errorf("drop key: %w", err)
	}
	return newBox(h)
}

func newKeyring(source RootKey) (*keyring, error) {
	k := &keyring{source: source, tenants: map[string]*tenantKeys{}}
	return k, k.reloadLocked()
}

// reloadLocked reads the root keyset again. The caller holds mu, or is the only one who knows k.
func (k *keyring) reloadLocked() error {
	h, err := k.source.load()
	if err != nil {
		return err
	}
	b, err := newBox(h)
	if err != nil {
		return err
	}
	k.root = &b
	return nil
}

// rootWith returns the root keyset that holds the given key, reading it again where the one in
// memory doesn't: another process may have rotated it.
func (k *keyring) rootWith(keyID int64) (*box, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.root.has(keyID) {
		return k.root, nil
	}
	if err := k.reloadLocked(); err != nil {
		return nil, err
	}
	if !k.root.has(keyID) {
		return nil, errStaleSnapshot
	}
	return k.root, nil
}

const probeText = "miosa-vault root key"

func (k *keyring) newProbe() (keyID int64, probe []byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	probe, err = k.root.aead.Encrypt([]byte(probeText), []byte(probeText))
	return k.root.primary, probe, err
}

func (k *keyring) checkProbe(probe []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if plain, err := k.root.aead.Decrypt(probe, []byte(probeText)); err != nil || string(plain) != probeText {
		return errors.New("the root key is not the one this store was made with")
	}
	return nil
}

// keys returns the tenant's keyset as the transaction sees it. What was opened before is used again only
// where the generation is the same, so a transaction never seals with a key that is being retired,
// whichever process retires it.
func (t *txn) keys(tenant string) (*tenantKeys, error) {
	var generation, rootKeyID int64
	var wrapped []byte
	err := t.queryRow(`SELECT generation, root_key_id, keyset FROM tenants WHERE id = $1`, tenant).
		Scan(&generation, &rootKeyID, &wrapped)
	if err != nil {
		return nil, fmt.Errorf("read keyset of tenant %s: %w", tenant, err)
	}
	k := t.store.keys
	k.mu.Lock()
	cached := k.tenants[tenant]
	k.mu.Unlock()
	if cached != nil && cached.generation == generation {
		return cached, nil
	}
	root, err := k.rootWith(rootKeyID)
	if err != nil {
		return nil, err
	}
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), root.aead, wrapAAD(tenant, generation))
	if err != nil {
		return nil, internal("keyset of tenant " + tenant + " doesn't open: it was altered, or belongs to another")
	}
	b, err := newBox(h)
	if err != nil {
		return nil, err
	}
	opened := &tenantKeys{box: b, tenant: tenant, generation: generation}
	k.mu.Lock()
	defer k.mu.Unlock()
	// A reader on an older snapshot doesn't displace a newer keyset.
	if now := k.tenants[tenant]; now == nil || now.generation < generation {
		k.tenants[tenant] = opened
	}
	return opened, nil
}

// wrap seals a tenant's keyset with the root keyset, in a transaction that writes. The root_key row
// fences it: it names a key the root keyset must hold, so a process that still has a retired root
// keyset in memory reads the new one first.
func (t *txn) wrap(tenant string, generation int64, b box) (wrapped []byte, rootKeyID int64, err error) {
	var current int64
	if err := t.queryRow(`SELECT key_id FROM root_key WHERE id = 1`).Scan(&current); err != nil {
		return nil, 0, fmt.Errorf("read root key id: %w", err)
	}
	root, err := t.store.keys.rootWith(current)
	if errors.Is(err, errStaleSnapshot) {
		return nil, 0, errRootMoved
	}
	if err != nil {
		return nil, 0, err
	}
	var out bytes.Buffer
	if err := b.handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), root.aead, wrapAAD(tenant, generation)); err != nil {
		return nil, 0, fmt.Errorf("wrap keyset: %w", err)
	}
	return out.Bytes(), root.primary, nil
}

func wrapAAD(tenant string, generation int64) []byte {
	return api.Frame("miosa-vault keyset", tenant, strconv.FormatInt(generation, 10))
}

// The fields of a secret that are sealed.
const (
	fieldValue   = "value"
	fieldRefresh = "refresh_token"
	fieldPreview = "preview"
)

func secretAAD(tenant, secretID string, version int64, field string) []byte {
	return api.Frame("miosa-vault secret", tenant, secretID, strconv.FormatInt(version, 10), field)
}

// seal encrypts one field of one version of one secret, and wipes plain.
func (k *tenantKeys) seal(plain []byte, secretID string, version int64, field string) ([]byte, error) {
	defer clear(plain)
	sealed, err := k.aead.Encrypt(plain, secretAAD(k.tenant, secretID, version, field))
	if err != nil {
		return nil, fmt.Errorf("seal %s of secret %s: %w", field, secretID, err)
	}
	return sealed, nil
}

// open decrypts one field. A row that was moved to another tenant, secret, version or field doesn't open.
func (k *tenantKeys) open(sealed []byte, secretID string, version int64, field string) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, secretAAD(k.tenant, secretID, version, field))
	if err != nil {
		return nil, internal("stored " + field + " of secret " + secretID + " doesn't open: it was altered, or belongs to another")
	}
	return plain, nil
}

func internal(message string) error { return api.NewError(api.ErrInternal, message) }

// newTenant makes a tenant with a keyset of its own.
func (t *txn) newTenant(name string) (id string, err error) {
	h, err := newKeyset()
	if err != nil {
		return "", err
	}
	b, err := newBox(h)
	if err != nil {
		return "", err
	}
	id = newID("ten_")
	wrapped, rootKeyID, err := t.wrap(id, 1, b)
	if err != nil {
		return "", err
	}
	err = t.exec(`INSERT INTO tenants (id, name, keyset, generation, root_key_id, created_at)
		VALUES ($1, $2, $3, 1, $4, $5)`, id, name, wrapped, rootKeyID, t.now.UnixMicro())
	return id, err
}

// tenantNamed returns the id of a tenant. Errors: ErrNotFound.
func (t *txn) tenantNamed(name string) (id string, err error) {
	err = t.queryRow(`SELECT id FROM tenants WHERE name = $1`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errNoTenant
	}
	return id, err
}
