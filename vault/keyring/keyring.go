// Package keyring holds the keys that a vault's values are encrypted with. Every tenant has a keyset; a tenant's
// keyset is stored wrapped (encrypted) with the root keyset, which is never stored with the data.
//
// A keyset holds one key that encrypts and, during a rotation, older ones that only decrypt. The package stores
// nothing but the root key's file: package store keeps the wrapped keysets, and runs the rotations.
package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/Miosa-osa/miosa-env/api"
)

// ErrUnknownRoot says that a keyset is wrapped with a root key that the root keyset doesn't have. In an older
// snapshot of the store that key was retired since: a newer snapshot has the keyset wrapped with the next one.
var ErrUnknownRoot = errors.New("a tenant's keyset is wrapped with a root key that isn't in the root keyset")

// Keyring unwraps tenants' keysets with the root keyset, and caches them. It is safe for concurrent use.
type Keyring struct {
	source Root

	mu      sync.Mutex // guards the fields below
	root    opened
	tenants map[string]unwrapped // by tenant id, in the newest generation seen
}

// unwrapped is a tenant's keyset and what it was stored as.
type unwrapped struct {
	*Keys
	from []byte
}

// New reads the root keyset.
func New(source Root) (*Keyring, error) {
	k := &Keyring{source: source, tenants: map[string]unwrapped{}}
	return k, k.reloadLocked()
}

// Sweep removes the files that rotations of the root key left behind when they were killed. It removes none while another process
// rotates.
func (k *Keyring) Sweep() error {
	if k.source.File == "" {
		return nil
	}
	return sweepIdle(filepath.Dir(k.source.File))
}

// reloadLocked reads the root keyset again. After an error the one in memory stays. The caller holds mu, or has the only reference to k.
func (k *Keyring) reloadLocked() error {
	root, err := k.source.load()
	if err == nil {
		k.root = root
	}
	return err
}

// rootWith returns the root keyset, which has the given key. If the one in memory doesn't, it is read again:
// another process may have rotated it. Errors: ErrUnknownRoot.
func (k *Keyring) rootWith(keyID int64) (opened, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.root.has(keyID) {
		return k.root, nil
	}
	if err := k.reloadLocked(); err != nil {
		return opened{}, err
	}
	if !k.root.has(keyID) {
		return opened{}, ErrUnknownRoot
	}
	return k.root, nil
}

// The texts of probes: of a store whose rows have macs, and of an older one.
const (
	probeText    = "miosa-vault root key, of a store with authenticated rows"
	oldProbeText = "miosa-vault root key"
)

// NewProbe returns the id of the root key that wraps, and a known text encrypted with it. CheckProbe tells a wrong
// root key from damaged data with it.
func (k *Keyring) NewProbe() (keyID int64, probe []byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	probe, err = k.root.aead.Encrypt([]byte(probeText), []byte(probeText))
	return k.root.primary, probe, err
}

// CheckProbe reports a root key that isn't the one that a probe was made with. authenticated is false for a probe from
// before rows had macs.
func (k *Keyring) CheckProbe(probe []byte) (authenticated bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, text := range []string{probeText, oldProbeText} {
		if _, err := k.root.aead.Decrypt(probe, []byte(text)); err == nil {
			return text == probeText, nil
		}
	}
	return false, otherRootError{}
}

// otherRootError is the error of a root key that doesn't open the store.
type otherRootError struct{}

func (otherRootError) Error() string { return "the root key is not the one this store was made with" }

// Hint tells how to fix it.
func (otherRootError) Hint() string {
	return "a backup from before keys rotate --root needs the root key of that time"
}

// Wrapped is a tenant's keyset as it is stored.
type Wrapped struct {
	Tenant     string
	Generation int64 // incremented whenever the keyset's content changes
	RootKeyID  int64 // the root key that wraps it
	Keyset     []byte
}

func (w Wrapped) aad() []byte {
	return api.Frame("miosa-vault keyset", w.Tenant, strconv.FormatInt(w.Generation, 10))
}

// Unwrap opens a tenant's keyset. A cached one is used only if it is stored in the same form and generation, so a transaction
// never encrypts with a key that is being retired, in whichever process, or that the database has lost.
// Errors: ErrUnknownRoot; api.ErrInternal for a keyset that was altered.
func (k *Keyring) Unwrap(w Wrapped) (*Keys, error) {
	k.mu.Lock()
	cached := k.tenants[w.Tenant]
	k.mu.Unlock()
	if cached.Keys != nil && cached.generation == w.Generation && bytes.Equal(cached.from, w.Keyset) {
		return cached.Keys, nil
	}
	root, err := k.rootWith(w.RootKeyID)
	if err != nil {
		return nil, err
	}
	set, err := open(keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(w.Keyset)), root.aead, w.aad()))
	if err != nil {
		return nil, api.NewError(api.ErrInternal, "keyset of tenant "+w.Tenant+" doesn't open: it was altered, or belongs to another")
	}
	keys := &Keys{opened: set, tenant: w.Tenant, generation: w.Generation}
	k.mu.Lock()
	defer k.mu.Unlock()
	// A reader of an older snapshot doesn't replace a newer keyset.
	if newest := k.tenants[w.Tenant]; newest.Keys == nil || newest.generation <= w.Generation {
		k.tenants[w.Tenant] = unwrapped{keys, w.Keyset}
	}
	return keys, nil
}

// Wrap wraps a tenant's keyset with the current root key. current is its id in the store:
// a process with a retired root keyset in memory reads the new one first. Errors: ErrUnknownRoot.
func (k *Keyring) Wrap(keys *Keys, current int64) (Wrapped, error) {
	root, err := k.rootWith(current)
	if err != nil {
		return Wrapped{}, err
	}
	w := Wrapped{Tenant: keys.tenant, Generation: keys.generation, RootKeyID: root.primary}
	var out bytes.Buffer
	if err := keys.handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), root.aead, w.aad()); err != nil {
		return Wrapped{}, fmt.Errorf("wrap keyset: %w", err)
	}
	w.Keyset = out.Bytes()
	return w, nil
}

// RotateRoot adds a root key that wraps from now on, calls rewrap, which must wrap all keysets again and erase the old wrappings,
// and removes the old root keys, which unwrap until then. It waits until no other process rotates a root key in this folder.
// Errors: api.ErrInvalid if the root key isn't in a file.
func (k *Keyring) RotateRoot(rewrap func() error) error {
	if k.source.File == "" {
		return api.NewError(api.ErrInvalid, "the root key is not in a file, so it can't be replaced in place")
	}
	unlock, err := lockFolder(filepath.Dir(k.source.File), true)
	if err != nil {
		return fmt.Errorf("lock root key: %w", err)
	}
	defer unlock()
	if err := k.changeRoot(opened.withNewPrimary); err != nil {
		return err
	}
	if err := rewrap(); err != nil {
		return err
	}
	return k.changeRoot(opened.primaryOnly)
}

// changeRoot replaces the root keyset in its file, and then in memory.
func (k *Keyring) changeRoot(change func(opened) (opened, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.reloadLocked(); err != nil {
		return err
	}
	changed, err := change(k.root)
	if err != nil {
		return err
	}
	if err := writeRootFile(k.source.File, changed); err != nil {
		return fmt.Errorf("write root key %s: %w", k.source.File, err)
	}
	k.root = changed
	return nil
}

// RootLen is the number of keys in the root keyset: more than one during a rotation.
func (k *Keyring) RootLen() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.root.handle.Len()
}
