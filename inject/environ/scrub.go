package environ

import (
	"bytes"
	"os"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/api"
)

// Scrub overwrites every copy of key, and of the keys in the environment's variables, in this process's own arguments and
// environment. On Linux it also makes the process undumpable, so that other processes of the user can read neither its
// /proc/PID/environ nor its memory; an execve makes it dumpable again.
//
// It changes strings of os.Args and os.Environ in place: clone first what is still needed.
func Scrub(key api.Key) error {
	keys := keysAround(key)
	defer func() {
		for _, k := range keys {
			clear(k)
		}
	}()
	if len(keys) == 0 {
		return nil
	}
	blocks, err := startBlocks()
	for _, entry := range os.Environ() {
		blocks = append(blocks, memoryOf(entry))
	}
	for _, block := range blocks {
		for _, k := range keys {
			wipe(block, k)
		}
	}
	if err != nil {
		return err
	}
	return forbidDumps()
}

// keysAround returns copies of key and of the keys in the environment. Other contents of these variables aren't wiped:
// they may be a word that also stands elsewhere.
func keysAround(key api.Key) (all [][]byte) {
	if text := key.Reveal(); text != "" {
		all = append(all, []byte(text))
	}
	for _, name := range []string{"MIOSA_API_KEY", "MIOSA_TENANT_KEY"} {
		if other, err := api.ParseKey(os.Getenv(name)); err == nil {
			all = append(all, []byte(other.Reveal()))
		}
	}
	return all
}

// wipe overwrites each occurrence of key in b with zeros.
func wipe(b, key []byte) {
	for {
		i := bytes.Index(b, key)
		if i < 0 {
			return
		}
		clear(b[i : i+len(key)])
		b = b[i+len(key):]
	}
}

// memoryOf returns the memory of s. The strings of os.Args and os.Environ are writable.
func memoryOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
