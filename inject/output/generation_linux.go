package output

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

const generationTime = "2006-01-02T15-04-05"

// isGeneration reports whether writeFiles makes directories, or links that become dataLink, with such a name.
func isGeneration(name string) bool {
	start, end, ok := strings.Cut(name, tempMark)
	if !ok || len(end) != tempRandom || !strings.HasPrefix(start, "..") {
		return false
	}
	_, err := time.Parse(generationTime, start[len(".."):])
	return err == nil || start == dataLink
}

// makeGeneration writes bound to a new directory, and syncs it.
func (o *Output) makeGeneration(d *directory, generation string, bound []api.Bound) error {
	if err := d.mkdir(generation); err != nil {
		return o.failed(d, err, 0)
	}
	within, err := d.open(generation)
	if err != nil {
		return err
	}
	defer within.close()
	for _, b := range bound {
		var f *os.File
		b.Value.Use(func(value []byte) { f, err = o.create(within, b.ExposeAsEnv, value) })
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	st, err := within.stat("")
	if err != nil {
		return err
	}
	if err := o.admit(within, st); err != nil {
		return err
	}
	return errors.Join(within.sync(), d.sync()) // before a link leads to it
}

// relink creates the missing links for names, then removes links for other names. there is what the directory contained before.
func (o *Output) relink(d *directory, there, names []string) error {
	for _, name := range names {
		if slices.Contains(there, name) {
			continue
		}
		if err := d.symlink(dataLink+"/"+name, name); err != nil {
			return o.failed(d, err, 0)
		}
	}
	for _, name := range there {
		if _, stays := slices.BinarySearch(names, name); stays || d.readlink(name) != dataLink+"/"+name {
			continue
		}
		if err := d.unlink(name); err != nil {
			return err
		}
	}
	return nil
}

// removeGenerations removes the generations among names, except one.
func removeGenerations(d *directory, names []string, except string) error {
	for _, name := range names {
		if !isGeneration(name) || name == except {
			continue
		}
		if err := removeGeneration(d, name); err != nil {
			return err
		}
	}
	return nil
}

// removeGeneration removes a generation, or a link that was to become dataLink. It is no error if it doesn't exist.
func removeGeneration(d *directory, name string) error {
	if err := d.unlink(name); !errors.Is(err, unix.EISDIR) {
		return err
	}
	within, err := d.open(name)
	if err != nil {
		return err
	}
	defer within.close()
	files, err := within.names()
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := within.unlink(file); err != nil {
			return err
		}
	}
	return d.failure("remove", name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}
