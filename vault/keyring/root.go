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

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/newfile"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Where FindRoot looks.
const (
	Credential = "miosa-vault-root-key" // a systemd credential: a file in $CREDENTIALS_DIRECTORY
	EnvName    = "MIOSA_VAULT_ROOT_KEY" // holds the key itself, as NewRoot returns it
)

// Root is a source of the root keyset. Only a keyset in a file can be rotated in place.
type Root struct {
	File string    // that only its owner may read; "": Text has the keyset
	Text api.Value // as NewRoot returns it
}

// FindRoot looks for the root key in file, the systemd credential and the environment variable, in this order. getenv
// is os.Getenv.
func FindRoot(file string, getenv func(string) string) (Root, error) {
	if file != "" {
		return Root{File: file}, nil
	}
	text := getenv(EnvName)
	if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		credential, err := os.ReadFile(filepath.Join(dir, Credential))
		switch {
		case err == nil:
			text = string(credential)
		case !errors.Is(err, fs.ErrNotExist):
			return Root{}, fmt.Errorf("read root key: %w", err)
		}
	}
	r := Root{Text: api.NewValue([]byte(setting.Trim(text)))}
	return r, r.Validate()
}

// NewRoot generates a root keyset and returns its text form: one line.
func NewRoot() (api.Value, error) {
	set, err := newKeyset()
	if err != nil {
		return api.Value{}, err
	}
	return encodeRoot(set)
}

// Validate reports a source that names neither a file nor a key.
func (r Root) Validate() error {
	if r.File == "" && r.Text.Len() == 0 {
		return errors.New("root key is required: name a file, or set " + EnvName)
	}
	return nil
}

// load reads the keyset.
func (r Root) load() (opened, error) {
	text := r.Text.Reveal()
	if r.File != "" {
		var err error
		if text, err = readRootFile(r.File); err != nil {
			return opened{}, fmt.Errorf("read root key: %w", err)
		}
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

// writeRootFile replaces the keyset in a file. After a crash the file is the old one or the new one.
func writeRootFile(path string, set opened) error {
	text, err := encodeRoot(set)
	if err != nil {
		return err
	}
	line := []byte(text.Reveal() + "\n")
	defer clear(line)
	return newfile.Put(path, tempPrefix+"*", line)
}

func encodeRoot(set opened) (api.Value, error) {
	var plain bytes.Buffer
	if err := insecurecleartextkeyset.Write(set.handle, keyset.NewBinaryWriter(&plain)); err != nil {
		return api.Value{}, fmt.Errorf("encode root key: %w", err)
	}
	defer clear(plain.Bytes())
	return api.NewValue([]byte(api.RootKeyPrefix + base64.RawURLEncoding.EncodeToString(plain.Bytes()))), nil
}

func decodeRoot(text string) (opened, error) {
	body, ok := strings.CutPrefix(text, api.RootKeyPrefix)
	plain, err := base64.RawURLEncoding.DecodeString(body)
	defer clear(plain)
	set, openErr := open(insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain))))
	if !ok || err != nil || openErr != nil {
		// The decoders' errors may contain part of the key.
		return opened{}, errors.New("root key is malformed: want one line that starts with " + api.RootKeyPrefix)
	}
	return set, nil
}
