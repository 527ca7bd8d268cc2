package machine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// keepPipes copies env files that aren't regular files, such as a shell's <(command), into memory, because env files are read again
// at each change, and these can be read only once.
func (r *runner) keepPipes() error {
	r.given = map[string]string{}
	for i, path := range r.environment.Files {
		info, err := os.Stat(path)
		if err != nil || info.Mode().IsRegular() || info.IsDir() {
			continue // Build says what is wrong with it
		}
		kept, err := r.keep(path)
		if err != nil {
			return fmt.Errorf("env file %s: %w", path, err)
		}
		r.given[kept] = path
		r.environment.Files[i] = kept
	}
	return nil
}

func (r *runner) keep(path string) (string, error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	fd, err := unix.MemfdCreate("env file", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	to := os.NewFile(uintptr(fd), path)
	if _, err := io.Copy(to, io.LimitReader(from, dotenv.MaxSize+1)); err != nil {
		return "", errors.Join(err, to.Close())
	}
	r.kept = append(r.kept, to) // otherwise it would be closed when it is collected
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}
