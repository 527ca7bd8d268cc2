package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Where FindRootKey looks.
const (
	RootKeyCredential = "miosa-vault-root-key" // a systemd credential: a file in $CREDENTIALS_DIRECTORY
	RootKeyEnv        = "MIOSA_VAULT_ROOT_KEY" // the key itself, as NewRootKey gives it
	RootKeyPrefix     = "msk_root_"            // of its text form, so that api.RedactKeys catches it
)

// RootKey says where the root keyset is. Only one in a file can be rotated in place.
type RootKey struct {
	file   string
	create bool
	text   api.Value
}

// RootKeyFile takes the root keyset from a file that only its owner may read; with create, a missing
// file is made (0600) with a new keyset, unless a store that needs the missing one is there already.
func RootKeyFile(path string, create bool) RootKey { return RootKey{file: path, create: create} }

// RootKeyText takes the root keyset in the form that NewRootKey gives.
func RootKeyText(v api.Value) RootKey { return RootKey{text: v} }

// FindRootKey looks for the root key where the operator may have put it: the systemd credential
// first, then the environment variable, then file, which with create may still be missing. A file the
// operator named on the command line goes before all of them: that is RootKeyFile. getenv is os.Getenv.
func FindRootKey(file string, create bool, getenv func(string) string) (RootKey, error) {
	if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, RootKeyCredential)
		text, err := os.ReadFile(path)
		switch {
		case err == nil:
			return RootKeyText(api.NewValue([]byte(setting.Trim(string(text))))), nil
		case !errors.Is(err, fs.ErrNotExist):
			return RootKey{}, fmt.Errorf("read root key: %w", err)
		}
	}
	if text := setting.Trim(getenv(RootKeyEnv)); text != "" {
		return RootKeyText(api.NewValue([]byte(text))), nil
	}
	r := RootKeyFile(file, create)
	return r, r.validate()
}

// NewRootKey makes a new root keyset in its text form: one line that starts with RootKeyPrefix.
func NewRootKey() (api.Value, error) {
	h, err := newKeyset()
	if err != nil {
		return api.Value{}, err
	}
	return encodeRoot(h)
}

func (r RootKey) validate() error {
	if r.file == "" && r.text.Len() == 0 {
		return errors.New("root key is required: name a file, or set " + RootKeyEnv)
	}
	return nil
}

// load reads the keyset, making it first where it may.
func (r RootKey) load() (*keyset.Handle, error) {
	if r.file == "" {
		return decodeRoot(r.text.Reveal())
	}
	text, err := readRootFile(r.file)
	if errors.Is(err, fs.ErrNotExist) && r.create {
		fresh, err := newKeyset()
		if err != nil {
			return nil, err
		}
		// Of several that start together one wins; all then read what it wrote.
		if err := writeRootFile(r.file, fresh, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make root key %s: %w", r.file, err)
		}
		text, err = readRootFile(r.file)
		if err != nil {
			return nil, fmt.Errorf("read root key: %w", err)
		}
		return decodeRoot(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read root key: %w", err)
	}
	return decodeRoot(text)
}

// readRootFile refuses a key that others can read, as ssh does.
func readRootFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s may be read by others (mode %04o): chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", err
	}
	defer clear(text)
	return setting.Trim(string(text)), nil
}

// writeRootFile writes the keyset beside path, syncs it, and puts it in place with os.Rename, or with
// os.Link where nothing may stand there yet. After a crash the file is the old one or the new one.
func writeRootFile(path string, h *keyset.Handle, place func(from, to string) error) error {
	text, err := encodeRoot(h)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	line := []byte(text.Reveal() + "\n")
	defer clear(line)
	return newfile.Put(path, ".root-key-*", line, place)
}

func newKeyset() (*keyset.Handle, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make keyset: %w", err)
	}
	return h, nil
}

func encodeRoot(h *keyset.Handle) (api.Value, error) {
	var plain bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&plain)); err != nil {
		return api.Value{}, fmt.Errorf("encode root key: %w", err)
	}
	defer clear(plain.Bytes())
	return api.NewValue([]byte(RootKeyPrefix + base64.RawURLEncoding.EncodeToString(plain.Bytes()))), nil
}

// errRootForm doesn't wrap what the decoders say: nothing of the text is to be repeated.
var errRootForm = errors.New("root key is malformed: want one line that starts with " + RootKeyPrefix)

func decodeRoot(text string) (*keyset.Handle, error) {
	body, ok := strings.CutPrefix(text, RootKeyPrefix)
	if !ok {
		return nil, errRootForm
	}
	plain, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil, errRootForm
	}
	defer clear(plain)
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, errRootForm
	}
	if _, err := aead.New(h); err != nil {
		return nil, errRootForm
	}
	return h, nil
}
