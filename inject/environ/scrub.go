package environ

import (
	"errors"
	"os"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/harden"
)

// Scrub overwrites every copy of key, and of the keys in the environment's variables, in this process's own arguments and
// environment. On Linux it also makes the process undumpable, even without a key, since values may come from an agent: other
// processes of the user can then read neither its /proc/PID/environ nor its memory. An execve makes it dumpable again.
//
// It changes strings of os.Args and os.Environ in place: clone first what is still needed.
func Scrub(key api.Key) error {
	keys := keysAround(key)
	defer func() {
		for _, k := range keys {
			clear(k)
		}
	}()
	return errors.Join(harden.Overwrite(keys...), harden.ForbidDumps())
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
