package trusted

import (
	"fmt"
	"io/fs"
	"os"
)

// ReadSecret reads a file with a key or a password. Its group may be able to read it, as is usual for TLS keys.
// Errors: *fs.PathError, also if all users may read or write the file, or its group may write it.
func ReadSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("others may read or change it (mode %04o): chmod 600 it", mode)}
	}
	return os.ReadFile(path)
}
