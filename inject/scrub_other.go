//go:build !linux

package inject

import (
	"os"
	"slices"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/api"
)

// Scrub overwrites every copy of key, and of what the environment's variables for keys hold, in this process's
// own arguments and environment. Go's strings of them are the memory that the kernel laid down, which is also
// what it shows to other processes.
//
// Strings of os.Args and os.Environ that hold the key are changed in place: clone what is still
// needed before. The error is always nil.
func Scrub(key api.Key) error {
	secrets := keysAround(key)
	defer forget(secrets)
	for _, entry := range slices.Concat(os.Args, os.Environ()) {
		wipe(unsafe.Slice(unsafe.StringData(entry), len(entry)), secrets)
	}
	return nil
}
