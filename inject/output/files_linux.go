package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// An output with format Files has the layout of Kubernetes' volumes:
//
//	PATH/NAME   -> ..data/NAME
//	PATH/..data -> ..2026-01-02T15-04-05.miosa-a1b2c3d4
//	PATH/..2026-01-02T15-04-05.miosa-a1b2c3d4/NAME
//
// Each set is written to a directory of its own, a generation, and takes effect for all names at once when ..data is
// replaced. A reader that opens PATH/..data first, and files relative to it, gets all values of one set.
const dataLink = "..data"

// writeFiles writes bound to the output's directory. changed is false if it already contains them.
func (o *Output) writeFiles(bound []api.Bound) (stamps map[string]stamp, changed bool, err error) {
	d, err := o.openFiles()
	if err != nil {
		return nil, false, err
	}
	defer d.close()
	there, err := d.names()
	if err != nil {
		return nil, false, err
	}
	names := sortedNames(bound)
	if err := inTheWay(d, there, names); err != nil {
		return nil, false, err
	}
	if stamps, ok := o.foundFiles(d, there, names, bound); ok {
		return stamps, false, nil
	}

	generation := randomName(".." + time.Now().UTC().Format(generationTime))
	if err := o.makeGeneration(d, generation, bound); err != nil {
		return nil, false, errors.Join(err, removeGeneration(d, generation))
	}
	link := randomName(dataLink)
	if err = o.setPending(d); err == nil {
		if err = d.symlink(generation, link); err == nil {
			err = d.rename(link, dataLink)
		}
		err = o.failed(d, err, 0)
	}
	if err != nil {
		return nil, false, errors.Join(err, d.unlink(link), removeGeneration(d, generation))
	}
	if err := o.relink(d, there, names); err != nil {
		return nil, false, err
	}
	// The earlier set goes when this one is on the disk: after a loss of power there is one of them.
	if err := d.sync(); err != nil {
		return nil, false, err
	}
	if err := removeGenerations(d, there, ""); err != nil {
		return nil, false, err
	}
	stamps, err = o.stampFiles(d, generation, names)
	return stamps, true, err
}

// openFiles opens the output's directory, which it creates if necessary. It removes what killed processes left.
func (o *Output) openFiles() (*directory, error) {
	parent, err := o.conf.open(path.Dir(o.conf.Path))
	if err != nil {
		return nil, err
	}
	defer parent.close()
	base := path.Base(o.conf.Path)
	if _, err := parent.stat(base); errors.Is(err, unix.ENOENT) {
		if err := o.conf.onDisk(parent); err != nil {
			return nil, err
		}
		if err := parent.mkdir(base); err != nil {
			return nil, o.failed(parent, err, 0)
		}
		if err := parent.sync(); err != nil {
			return nil, err
		}
	}
	d, err := o.conf.open(o.conf.Path)
	if err != nil {
		return nil, err
	}
	if err := o.secure(d); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// secure checks that other users can't add files to the output's directory and that it is in memory, gives access to those
// who may read the values, and removes what killed processes left.
func (o *Output) secure(d *directory) error {
	st, err := d.stat("")
	if err != nil {
		return err
	}
	if st.Mode&0o022 != 0 {
		return &Unsafe{Path: d.path, Reason: fmt.Sprintf("has mode %#o: others could put something else there", st.Mode&0o7777), Fix: "chmod go-w " + environ.Quote(d.path)}
	}
	if err := o.conf.onDisk(d); err != nil {
		return err
	}
	if int(st.Uid) == os.Geteuid() {
		if err := o.admit(d, st); err != nil {
			return err
		}
	}
	if o.swept {
		return nil
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	if err := removeGenerations(d, names, d.readlink(dataLink)); err != nil {
		return err
	}
	o.swept = true
	return nil
}

// admit gives access to a directory to those who may read the files in it: nobody else, the group, or, if the files belong
// to another user, everybody, who can then see the names. The directory keeps its owner, so that nobody else can add
// files.
func (o *Output) admit(d *directory, st unix.Stat_t) error {
	mode := uint32(0o700)
	if o.conf.mode()&0o040 != 0 {
		mode = 0o750
	}
	if o.uid >= 0 && o.uid != os.Geteuid() {
		mode = 0o755
	}
	if o.gid >= 0 && st.Gid != uint32(o.gid) {
		if err := unix.Fchown(d.fd, -1, o.gid); err != nil {
			return fmt.Errorf("give %s to its group: %w", d.path, err)
		}
	}
	if st.Mode&0o777 == mode {
		return nil
	}
	if err := unix.Fchmod(d.fd, st.Mode&0o7000|mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: d.path, Err: err}
	}
	return nil
}

// inTheWay returns an error if the directory contains something else under a name that the output uses.
func inTheWay(d *directory, there, names []string) error {
	for _, name := range append(slices.Clone(names), dataLink) {
		if !slices.Contains(there, name) {
			continue
		}
		if target := d.readlink(name); name == dataLink && isGeneration(target) || name != dataLink && target == dataLink+"/"+name {
			continue
		}
		return &Unsafe{Path: path.Join(d.path, name), Reason: "is there and isn't ours", Fix: "remove it, or choose another path"}
	}
	return nil
}

// foundFiles reports whether the directory is as writeFiles would make it, and returns its stamps.
func (o *Output) foundFiles(d *directory, there, names []string, bound []api.Bound) (map[string]stamp, bool) {
	current := d.readlink(dataLink)
	if !isGeneration(current) {
		return nil, false
	}
	within, err := d.open(current)
	if err != nil {
		return nil, false
	}
	defer within.close()
	files, err := within.names()
	slices.Sort(files)
	if err != nil || !slices.Equal(files, names) {
		return nil, false
	}
	var links []string
	for _, name := range there {
		if d.readlink(name) == dataLink+"/"+name {
			links = append(links, name)
		}
	}
	slices.Sort(links)
	if !slices.Equal(links, names) {
		return nil, false
	}
	for _, b := range bound {
		same := false
		b.Value.Use(func(value []byte) { _, same = o.found(within, b.ExposeAsEnv, value) })
		if !same {
			return nil, false
		}
	}
	stamps, err := o.stampFiles(d, current, names)
	return stamps, err == nil
}

// stampFiles returns the stamps of the files, the links to them and the generation's directory, whose stamp changes if
// files are added. Other files beside the links are ignored.
func (o *Output) stampFiles(d *directory, generation string, names []string) (map[string]stamp, error) {
	all := []string{".", dataLink, generation}
	for _, name := range names {
		all = append(all, name, path.Join(generation, name))
	}
	stamps := make(map[string]stamp, len(all))
	for _, name := range all {
		st, err := d.stat(name)
		if err != nil {
			return nil, err
		}
		noted := stampOf(st)
		if name == "." {
			noted = noted.withoutContent()
		}
		stamps[path.Join(path.Base(o.conf.Path), name)] = noted
	}
	return stamps, nil
}

// removeFiles removes the output's files from its directory.
func (o *Output) removeFiles(d *directory) error {
	there, err := d.names()
	if err != nil {
		return err
	}
	// The link first: without it no name leads to a value.
	return errors.Join(d.unlink(dataLink), d.unlink(o.pendingName()), o.relink(d, there, nil), removeGenerations(d, there, ""), d.sync())
}

// sortedNames returns the final names of bound.
func sortedNames(bound []api.Bound) []string {
	names := make([]string, len(bound))
	for i, b := range bound {
		names[i] = b.ExposeAsEnv
	}
	slices.Sort(names)
	return names
}
