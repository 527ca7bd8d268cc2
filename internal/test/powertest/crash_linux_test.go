package powertest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// inode is a file, directory or symlink. Its names are in directories.
type inode struct {
	number  uint64
	birth   uint32 // type and permissions when it was made
	target  string // of a symlink
	mode    uint32 // the fields from here on are the present ones, for the kernel
	changed time.Time
	content []byte
	entries map[string]*inode // of a directory
}

func (i *inode) isDir() bool { return i.birth&syscall.S_IFMT == syscall.S_IFDIR }

// kind is what an operation does to the inode that it is on.
type kind int

const (
	written  kind = iota // data at the offset at
	resized              // to the size at
	chmodded             // to the mode at
	named                // child as name
	unnamed              // name
	renamed              // child, from name to to
	synced
)

// op is an operation.
type op struct {
	kind     kind
	on       *inode
	at       int64
	data     []byte
	name, to string
	child    *inode
}

// apply returns the content of a file after a write or a change of its size.
func (o op) apply(content []byte) []byte {
	end := int(o.at) + len(o.data)
	if o.kind == resized && end < len(content) {
		return content[:end:end] // what is cut off doesn't return
	}
	if end > len(content) {
		content = append(content, make([]byte, end-len(content))...)
	}
	copy(content[o.at:], o.data)
	return content
}

// recording is a list of operations on an empty file system.
type recording struct {
	root *inode
	from int // the first position of crashes
	ops  []op
}

// withoutSyncs returns the recording without syncs of the files that ever had one of the names; without names, of directories. What
// was there before the first crash stays.
func (r recording) withoutSyncs(names ...string) recording {
	drop := map[*inode]bool{}
	for _, o := range r.ops {
		switch {
		case len(names) == 0 && o.on.isDir():
			drop[o.on] = true
		case o.kind == named && slices.Contains(names, o.name), o.kind == renamed && slices.Contains(names, o.to):
			drop[o.child] = true
		}
	}
	left := slices.Clone(r.ops[:r.from])
	for _, o := range r.ops[r.from:] {
		if o.kind == synced && drop[o.on] {
			o = op{kind: written, on: o.on} // positions stay
		}
		left = append(left, o)
	}
	r.ops = left
	return r
}

// onDisk is what a disk has of an inode.
type onDisk struct {
	mode    uint32
	content []byte
	entries map[string]*inode
	pending []op // that are not synced
}

func (d *onDisk) apply(o op) {
	switch o.kind {
	case written, resized:
		d.content = o.apply(d.content)
	case chmodded:
		d.mode = uint32(o.at)
	case named:
		d.entries[o.name] = o.child
	case unnamed:
		delete(d.entries, o.name)
	case renamed:
		if d.entries[o.name] == o.child {
			delete(d.entries, o.name)
		}
		d.entries[o.to] = o.child
	}
}

// losses decides what of the operations that are not synced a disk has.
type losses struct {
	*rand.Rand
	keep   float64 // probability for each operation
	tear   float64 // probability that of a write each sector is decided on its own
	sector int
	stale  bool // space without data has other data, not zeros
}

// newLosses returns other losses for each seed: also all and nothing.
func newLosses(seed uint64) losses {
	l := losses{Rand: rand.New(rand.NewPCG(seed, 0))}
	switch l.IntN(5) {
	case 0: // all is lost
	case 1:
		l.keep = 1
	default:
		l.keep, l.tear = l.Float64(), l.Float64()
	}
	l.sector = []int{512, 4096}[l.IntN(2)]
	l.stale = l.IntN(4) == 0
	return l
}

// decide applies a part of an operation to a disk.
func (l losses) decide(d *onDisk, o op) {
	if o.kind != written || l.Float64() >= l.tear {
		if l.Float64() < l.keep {
			d.apply(o)
		}
		return
	}
	size := len(d.content)
	if end := int(o.at) + len(o.data); end > size && l.IntN(2) == 0 { // the size without the data
		d.content = op{kind: resized, at: int64(end)}.apply(d.content)
		if l.stale {
			for i := size; i < end; i++ {
				d.content[i] = byte(l.Uint32())
			}
		}
	}
	for from := 0; from < len(o.data); {
		to := min(from+l.sector-(int(o.at)+from)%l.sector, len(o.data))
		if l.Float64() < l.keep {
			d.apply(op{kind: written, at: o.at + int64(from), data: o.data[from:to]})
		}
		from = to
	}
}

// crash makes the files in a folder that a disk may have after a loss of power before operation n.
func (r recording) crash(folder string, n int, l losses) error {
	disk := map[*inode]*onDisk{}
	of := func(i *inode) *onDisk {
		if disk[i] == nil {
			disk[i] = &onDisk{mode: i.birth, entries: map[string]*inode{}}
		}
		return disk[i]
	}
	var order []*inode // of first operations, so that a seed always decides the same
	for _, o := range r.ops[:n] {
		if disk[o.on] == nil {
			order = append(order, o.on)
		}
		d := of(o.on)
		if o.kind != synced {
			d.pending = append(d.pending, o)
			continue
		}
		for _, p := range d.pending {
			d.apply(p)
		}
		d.pending = d.pending[:0]
	}
	for _, i := range order {
		for _, o := range disk[i].pending {
			l.decide(disk[i], o)
		}
	}
	return r.write(folder, r.root, of)
}

// write writes an inode and what is in it.
func (r recording) write(path string, i *inode, of func(*inode) *onDisk) error {
	d := of(i)
	switch d.mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		return os.Symlink(i.target, path)
	case syscall.S_IFREG:
		return os.WriteFile(path, d.content, os.FileMode(d.mode&0o777))
	}
	if err := os.Mkdir(path, os.FileMode(d.mode&0o777)); err != nil {
		return err
	}
	for name, child := range d.entries {
		if err := r.write(filepath.Join(path, name), child, of); err != nil {
			return err
		}
	}
	return nil
}
