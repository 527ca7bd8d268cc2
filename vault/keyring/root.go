package keyring

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

// Where FindRoot looks, and the prefix of the text form.
const (
	Credential = "miosa-vault-root-key" // a systemd credential: a file in $CREDENTIALS_DIRECTORY
	EnvName    = "MIOSA_VAULT_ROOT_KEY" // holds the key itself, as NewRoot returns it
	rootPrefix = "msk_root_"            // api.RedactKeys recognizes it
)

// Root is a source of the root keyset. Only a keyset in a file can be rotated in place.
type Root struct {
	file   string
	create bool
	text   api.Value
}

// RootFile reads the root keyset from a file that only its owner may read. With create, a missing file is
// created (0600) with a new keyset, unless a store exists already, which needs the missing one.
func RootFile(path string, create bool) Root { return Root{file: path, create: create} }

// RootText takes the root keyset in the form that NewRoot returns.
func RootText(v api.Value) Root { return Root{text: v} }

// FindRoot looks for the root key in the systemd credential, the environment variable and file, in this
// order; with create, file may be missing. A file named on the command line takes precedence over all of them: use
// RootFile for it. getenv is os.Getenv.
func FindRoot(file string, create bool, getenv func(string) string) (Root, error) {
	if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, Credential))
		switch {
		case err == nil:
			return RootText(api.NewValue([]byte(setting.Trim(string(text))))), nil
		case !errors.Is(err, fs.ErrNotExist):
			return Root{}, fmt.Errorf("read root key: %w", err)
		}
	}
	if text := setting.Trim(getenv(EnvName)); text != "" {
		return RootText(api.NewValue([]byte(text))), nil
	}
	r := RootFile(file, create)
	return r, r.Validate()
}

// NewRoot generates a root keyset and returns its text form: one line.
func NewRoot() (api.Value, error) {
	h, err := newHandle()
	if err != nil {
		return api.Value{}, err
	}
	return encodeRoot(h)
}

// WithoutCreate is r for a store that exists already: a missing file is an error.
func (r Root) WithoutCreate() Root {
	r.create = false
	return r
}

// Validate reports a source that names neither a file nor a key.
func (r Root) Validate() error {
	if r.file == "" && r.text.Len() == 0 {
		return errors.New("root key is required: name a file, or set " + EnvName)
	}
	return nil
}

// load reads the keyset. It creates a missing file if r allows that.
func (r Root) load() (*keyset.Handle, error) {
	if r.file == "" {
		return decodeRoot(r.text.Reveal())
	}
	text, err := readRootFile(r.file)
	if errors.Is(err, fs.ErrNotExist) && r.create {
		fresh, makeErr := newHandle()
		if makeErr != nil {
			return nil, makeErr
		}
		// If several processes start together, one creates the file and all read it.
		if err := writeRootFile(r.file, fresh, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create root key %s: %w", r.file, err)
		}
		text, err = readRootFile(r.file)
	}
	if err != nil {
		return nil, fmt.Errorf("read root key: %w", err)
	}
	return decodeRoot(text)
}

// readRootFile refuses a file that others can read, as ssh does.
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

// writeRootFile writes the keyset to a temporary file next to path, syncs it, and moves it to path with place:
// os.Rename, or os.Link if path must not exist. After a crash the file is the old one or the new one.
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

func encodeRoot(h *keyset.Handle) (api.Value, error) {
	var plain bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&plain)); err != nil {
		return api.Value{}, fmt.Errorf("encode root key: %w", err)
	}
	defer clear(plain.Bytes())
	return api.NewValue([]byte(rootPrefix + base64.RawURLEncoding.EncodeToString(plain.Bytes()))), nil
}

// errRootForm wraps no decoder's error: those may repeat part of the key.
var errRootForm = errors.New("root key is malformed: want one line that starts with " + rootPrefix)

func decodeRoot(text string) (*keyset.Handle, error) {
	body, ok := strings.CutPrefix(text, rootPrefix)
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
