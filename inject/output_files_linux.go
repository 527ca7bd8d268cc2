package inject

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// FormatFiles is laid out as Kubernetes does it:
//
//	PATH/NAME   -> ..data/NAME
//	PATH/..data -> ..2026-01-02T15-04-05.miosa-a1b2c3d4
//	PATH/..2026-01-02T15-04-05.miosa-a1b2c3d4/NAME
//
// A set is written into a directory of its own, a generation, and comes into force for all names at once
// when ..data is replaced. Who opens PATH/..data first and reads in there has all values of one set.
const dataLink = "..data"

const generationTime = "2006-01-02T15-04-05"

// isGeneration tells whether a name is one that writeFiles makes, for directories and for the link on
// its way.
func isGeneration(name string) bool {
	start, end, ok := strings.Cut(name, tempMark)
	if !ok || len(end) != tempRandom || !strings.HasPrefix(start, "..") {
		return false
	}
	_, err := time.Parse(generationTime, start[len(".."):])
	return err == nil || start == dataLink
}

// writeFiles makes the output's directory hold pairs. changed is false where it did already.
func (o *Output) writeFiles(pairs []api.Bound) (stamps map[string]stamp, changed bool, err error) {
	at, err := o.openFiles()
	if err != nil {
		return nil, false, err
	}
	defer at.close()
	current := at.readlink(dataLink)
	there, err := at.names()
	if err != nil {
		return nil, false, err
	}
	if err := o.inTheWay(at, there, pairs); err != nil {
		return nil, false, err
	}
	if stamps, ok := o.foundFiles(at, there, current, pairs); ok {
		return stamps, false, nil
	}

	start := ".." + time.Now().UTC().Format(generationTime)
	generation := randomName(start)
	if err := o.makeGeneration(at, generation, pairs); err != nil {
		return nil, false, errors.Join(err, removeGeneration(at, generation))
	}
	link := randomName(dataLink)
	if err = o.owe(at); err == nil {
		if err = unix.Symlinkat(generation, at.fd, link); err == nil {
			err = unix.Renameat(at.fd, link, at.fd, dataLink)
		}
		if err != nil {
			err = o.failed(at, &fs.PathError{Op: "replace", Path: path.Join(at.path, dataLink), Err: err}, 0)
		}
	}
	if err != nil {
		return nil, false, errors.Join(err, at.unlink(link), removeGeneration(at, generation))
	}
	if err := o.relink(at, there, pairs); err != nil {
		return nil, false, err
	}
	if err := at.sync(); err != nil {
		return nil, false, err
	}
	stamps, err = o.stampFiles(at, generation, sortedNames(pairs))
	return stamps, true, err
}

// openFiles opens the output's directory, makes it if need be, and removes, but for the generation that
// is in force, what killed runs left in it.
func (o *Output) openFiles() (*place, error) {
	parent, err := o.conf.open(path.Dir(o.conf.Path))
	if err != nil {
		return nil, err
	}
	defer parent.close()
	base := path.Base(o.conf.Path)
	if _, err := parent.stat(base); errors.Is(err, unix.ENOENT) {
		if !o.conf.AllowDisk {
			if err := parent.inMemory(); err != nil {
				return nil, err
			}
		}
		if err := unix.Mkdirat(parent.fd, base, 0o700); err != nil {
			return nil, o.failed(parent, &fs.PathError{Op: "create", Path: o.conf.Path, Err: err}, 0)
		}
	}
	at, err := o.conf.open(o.conf.Path)
	if err != nil {
		return nil, err
	}
	if err := o.secure(at); err != nil {
		at.close()
		return nil, err
	}
	return at, nil
}

// secure makes sure of the output's directory: nobody else may put anything into it, values in it are in
// memory, and those they are for can reach them.
func (o *Output) secure(at *place) error {
	var st unix.Stat_t
	if err := unix.Fstat(at.fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: at.path, Err: err}
	}
	if st.Mode&0o022 != 0 {
		return &Unsafe{Path: at.path, Reason: fmt.Sprintf("has mode %#o: others could put something else there", st.Mode&0o7777), Fix: "chmod go-w " + shown(at.path)}
	}
	if !o.conf.AllowDisk {
		if err := at.inMemory(); err != nil {
			return err
		}
	}
	if int(st.Uid) == os.Geteuid() {
		if err := o.admit(at, st); err != nil {
			return err
		}
	}
	if o.swept {
		return nil
	}
	names, err := at.names()
	if err != nil {
		return err
	}
	current := at.readlink(dataLink)
	for _, name := range names {
		if isGeneration(name) && name != current {
			if err := removeGeneration(at, name); err != nil {
				return err
			}
		}
	}
	o.swept = true
	return nil
}

// admit lets those into a directory of ours who may read the files in it: nobody, the group, or, the
// files being another user's, everybody, who can then see the names. It stays ours, for nobody else to
// put anything in our way.
func (o *Output) admit(at *place, st unix.Stat_t) error {
	mode := uint32(0o700)
	if o.conf.mode()&0o040 != 0 {
		mode = 0o750
	}
	if o.uid >= 0 && o.uid != os.Geteuid() {
		mode = 0o755
	}
	if o.gid >= 0 && st.Gid != uint32(o.gid) {
		if err := unix.Fchown(at.fd, -1, o.gid); err != nil {
			return fmt.Errorf("give %s to its group: %w", at.path, err)
		}
	}
	if st.Mode&0o777 == mode {
		return nil
	}
	if err := unix.Fchmod(at.fd, st.Mode&0o7000|mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: at.path, Err: err}
	}
	return nil
}

// inTheWay refuses a directory in which a name is taken by something that isn't ours.
func (o *Output) inTheWay(at *place, there []string, pairs []api.Bound) error {
	for _, name := range append(sortedNames(pairs), dataLink) {
		if !slices.Contains(there, name) {
			continue
		}
		target := at.readlink(name)
		if name == dataLink && isGeneration(target) || name != dataLink && target == dataLink+"/"+name {
			continue
		}
		return &Unsafe{Path: path.Join(at.path, name), Reason: "is there and isn't ours", Fix: "remove it, or choose another path"}
	}
	return nil
}

// makeGeneration writes pairs into a new directory.
func (o *Output) makeGeneration(at *place, generation string, pairs []api.Bound) error {
	whole := path.Join(at.path, generation)
	if err := unix.Mkdirat(at.fd, generation, 0o700); err != nil {
		return o.failed(at, &fs.PathError{Op: "create", Path: whole, Err: err}, 0)
	}
	fd, err := unix.Openat(at.fd, generation, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: whole, Err: err}
	}
	within := &place{fd, whole}
	defer within.close()
	for _, pair := range pairs {
		pair.Value.Use(func(value []byte) {
			if fd, err = o.create(within, pair.ExposeAsEnv, value); err == nil {
				_ = unix.Close(fd)
			}
		})
		if err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(within.fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: whole, Err: err}
	}
	if err := o.admit(within, st); err != nil {
		return err
	}
	return within.sync()
}

// relink gives each of pairs a link, then takes away the links of others, then the generations that are
// no longer in force. there is what the directory held before.
func (o *Output) relink(at *place, there []string, pairs []api.Bound) error {
	wanted := sortedNames(pairs)
	for _, name := range wanted {
		if slices.Contains(there, name) {
			continue
		}
		if err := unix.Symlinkat(dataLink+"/"+name, at.fd, name); err != nil {
			return o.failed(at, &fs.PathError{Op: "link", Path: path.Join(at.path, name), Err: err}, 0)
		}
	}
	for _, name := range there {
		if _, stays := slices.BinarySearch(wanted, name); stays || at.readlink(name) != dataLink+"/"+name {
			continue
		}
		if err := at.unlink(name); err != nil {
			return err
		}
	}
	for _, name := range there {
		if !isGeneration(name) {
			continue
		}
		if err := removeGeneration(at, name); err != nil {
			return err
		}
	}
	return nil
}

// removeGeneration removes a directory of ours with the files in it, or a link to one on its way. That
// it isn't there is no error.
func removeGeneration(at *place, name string) error {
	if err := at.unlink(name); err == nil {
		return nil
	} else if !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := unix.Openat(at.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path.Join(at.path, name), Err: err}
	}
	within := &place{fd, path.Join(at.path, name)}
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
	if err := unix.Unlinkat(at.fd, name, unix.AT_REMOVEDIR); err != nil {
		return &fs.PathError{Op: "remove", Path: within.path, Err: err}
	}
	return nil
}

// foundFiles tells whether the directory is as writeFiles would make it, and how it looks.
func (o *Output) foundFiles(at *place, there []string, current string, pairs []api.Bound) (map[string]stamp, bool) {
	if !isGeneration(current) {
		return nil, false
	}
	fd, err := unix.Openat(at.fd, current, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	within := &place{fd, path.Join(at.path, current)}
	defer within.close()
	wanted := sortedNames(pairs)
	files, err := within.names()
	slices.Sort(files)
	if err != nil || !slices.Equal(files, wanted) {
		return nil, false
	}
	var links []string
	for _, name := range there {
		if at.readlink(name) == dataLink+"/"+name {
			links = append(links, name)
		}
	}
	slices.Sort(links)
	if !slices.Equal(links, wanted) {
		return nil, false
	}
	for _, pair := range pairs {
		same := false
		pair.Value.Use(func(value []byte) { _, same = o.found(within, pair.ExposeAsEnv, value) })
		if !same {
			return nil, false
		}
	}
	stamps, err := o.stampFiles(at, current, wanted)
	return stamps, err == nil
}

// stampFiles notes how everything looks: the files, the links to them, and the generation's directory, in
// which an addition shows. What else is put beside the links is nobody's business.
func (o *Output) stampFiles(at *place, generation string, names []string) (map[string]stamp, error) {
	all := []string{".", dataLink, generation}
	for _, name := range names {
		all = append(all, name, path.Join(generation, name))
	}
	stamps := make(map[string]stamp, len(all))
	for _, name := range all {
		st, err := at.stat(name)
		if err != nil {
			return nil, &fs.PathError{Op: "stat", Path: path.Join(at.path, name), Err: err}
		}
		noted := stampOf(st)
		if name == "." {
			noted = noted.lasting()
		}
		stamps[path.Join(path.Base(o.conf.Path), name)] = noted
	}
	return stamps, nil
}

// removeFiles empties the output's directory of what is ours.
func (o *Output) removeFiles(parent *place) error {
	switch _, err := parent.stat(path.Base(o.conf.Path)); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return &fs.PathError{Op: "stat", Path: o.conf.Path, Err: err}
	}
	at, err := o.conf.open(o.conf.Path)
	if err != nil {
		return err
	}
	defer at.close()
	there, err := at.names()
	if err != nil {
		return err
	}
	problems := []error{at.unlink(dataLink), at.unlink(o.owedName())} // the link first: from here on no name leads to a value
	problems = append(problems, o.relink(at, there, nil), at.sync())
	return errors.Join(problems...)
}
