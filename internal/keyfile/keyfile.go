// Package keyfile reads keys from files, and again when the vault has refused them: a file may be being replaced.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// maxBytes is longer than any key.
const maxBytes = 4 << 10

// Key is a key and its origin.
type Key struct {
	api.Key
	Where   string    // a variable or a path
	Exposed bool      // other users can read or change the file
	Changed time.Time // of a regular file; zero: it isn't one

	file  bool // Where is a path
	check Check
}

// Check returns an error about a key that a program doesn't accept. where says where it is from.
type Check func(where string, key api.Key) error

// Read reads a key from a file; with regular, only from a regular file.
func Read(path string, regular bool, check Check) (Key, error) {
	found := Key{Where: path, file: true, check: check}
	open := os.Open
	if regular {
		open = option.Open
	}
	f, err := open(path)
	if err != nil {
		return found, cli.Unreadable("key file", path, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		found.Exposed, found.Changed = info.Mode().Perm()&0o006 != 0, info.ModTime()
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes))
	defer clear(text)
	if err != nil {
		return found, cli.Unreadable("key file", path, err)
	}
	return found.parse("key file "+path, string(text))
}

// Parse parses the text of a variable.
func Parse(variable, text string, check Check) (Key, error) {
	return Key{Where: variable, check: check}.parse(variable, text)
}

func (k Key) parse(where, text string) (Key, error) {
	trimmed := setting.Trim(text)
	if trimmed == "" {
		return k, cli.WithHint(errors.New(where+" is empty"), "write the key to it, as it was shown when it was created")
	}
	// Before ParseKey: half of a root key isn't merely malformed.
	if err := (api.Key{Value: api.NewValue([]byte(trimmed))}).CheckSent(); err != nil {
		return k, fmt.Errorf("%s holds %w", where, err)
	}
	key, err := api.ParseKey(text)
	if err != nil {
		return k, cli.WithHint(fmt.Errorf("%s: %w", where, err), "copy the whole key, as it was shown when it was created")
	}
	if err := k.check(where, key); err != nil {
		return k, err
	}
	k.Key = key
	return k, nil
}

// Path returns the key's file; "" if the key is from a variable.
func (k Key) Path() string {
	if k.file {
		return k.Where
	}
	return ""
}
