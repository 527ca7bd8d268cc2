package powertest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// recorder is a mounted file system that records what is done to it. Only other processes map its files into memory: the goroutines
// that serve it must not wait for themselves.
type recorder struct {
	folder string // where it is mounted
	server *fuse.Server

	mu   sync.Mutex // guards the fields below and all nodes
	root *inode
	from int // the position after begin
	ops  []op
	last uint64 // the last number of an inode
}

// mount mounts an empty file system until the test ends.
func mount(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{folder: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(r.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	r.root = r.newInode(syscall.S_IFDIR | 0o700)
	server, err := fs.Mount(r.folder, &node{of: r, inode: r.root}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "miosa-powertest", ExplicitDataCacheControl: true},
		UID:          uint32(os.Getuid()), GID: uint32(os.Getgid()),
	})
	needs.Granted(t, err, "a FUSE file system")
	r.server = server
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return r
}

// at returns the path of a file in the file system.
func (r *recorder) at(name string) string { return filepath.Join(r.folder, name) }

// position is the number of operations so far. What is acknowledged before is not later than it.
func (r *recorder) position() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// begin makes everything that is there durable. Crashes happen after it.
func (r *recorder) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all func(*inode)
	all = func(i *inode) {
		r.ops = append(r.ops, op{kind: synced, on: i})
		for _, child := range i.entries {
			all(child)
		}
	}
	all(r.root)
	r.from = len(r.ops)
}

// recording returns all operations until now.
func (r *recorder) recording() recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return recording{r.root, r.from, slices.Clone(r.ops)}
}

func (r *recorder) newInode(mode uint32) *inode {
	r.last++
	i := &inode{number: r.last, mode: mode, birth: mode, changed: time.Now()}
	if i.isDir() {
		i.entries = map[string]*inode{}
	}
	return i
}

// node is an inode as the kernel sees it. The library keeps the tree of names; entries of inodes are for begin and Rmdir.
type node struct {
	fs.Inode
	of *recorder
	*inode
}

// record adds an operation, which the caller has done.
func (n *node) record(o op) {
	n.changed = time.Now()
	n.of.ops = append(n.of.ops, o)
}

// add makes a file, directory or symlink in a directory.
func (n *node) add(ctx context.Context, name string, mode uint32, target string, out *fuse.EntryOut) (*fs.Inode, *node) {
	child := &node{of: n.of, inode: n.of.newInode(mode)}
	child.target = target
	n.entries[name] = child.inode
	n.record(op{kind: named, on: n.inode, name: name, child: child.inode})
	child.attributes(&out.Attr)
	return n.NewPersistentInode(ctx, child, fs.StableAttr{Mode: mode & syscall.S_IFMT, Ino: child.number}), child
}

func (n *node) attributes(out *fuse.Attr) {
	out.Mode, out.Size, out.Nlink, out.Ino = n.mode, uint64(len(n.content)), 1, n.number
	if n.isDir() {
		out.Nlink = 2
	}
	out.SetTimes(&n.changed, &n.changed, &n.changed)
	out.Owner = fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	out.Blksize, out.Blocks = 4096, (out.Size+511)/512
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.attributes(&out.Attr)
	return 0
}

func (n *node) Lookup(_ context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child := n.GetChild(name)
	if child == nil {
		return nil, syscall.ENOENT
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	child.Operations().(*node).attributes(&out.Attr)
	return child, 0
}

func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if n.entries[name] != nil {
		return nil, nil, 0, syscall.EEXIST
	}
	i, _ := n.add(ctx, name, syscall.S_IFREG|mode&0o7777, "", out)
	return i, nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	i, _ := n.add(ctx, name, syscall.S_IFDIR|mode&0o7777, "", out)
	return i, 0
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	i, _ := n.add(ctx, name, syscall.S_IFLNK|0o777, target, out)
	return i, 0
}

func (n *node) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if n.entries[name] != nil {
		return nil, syscall.EEXIST
	}
	to := target.(*node)
	n.entries[name] = to.inode
	n.record(op{kind: named, on: n.inode, name: name, child: to.inode})
	to.attributes(&out.Attr)
	return to.EmbeddedInode(), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	delete(n.entries, name)
	n.record(op{kind: unnamed, on: n.inode, name: name})
	return 0
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	n.of.mu.Lock()
	child := n.entries[name]
	n.of.mu.Unlock()
	if child != nil && len(child.entries) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(ctx, name)
}

func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if newParent.(*node) != n || flags != 0 {
		return syscall.EXDEV // the programs don't do this
	}
	child := n.entries[name]
	delete(n.entries, name)
	n.entries[newName] = child
	n.record(op{kind: renamed, on: n.inode, name: name, to: newName, child: child})
	return 0
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) { return []byte(n.target), 0 }

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	from := min(off, int64(len(n.content)))
	return fuse.ReadResultData(dest[:copy(dest, n.content[from:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	o := op{kind: written, on: n.inode, at: off, data: slices.Clone(data)}
	n.content = o.apply(n.content)
	n.record(o)
	return uint32(len(data)), 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&syscall.S_IFMT | mode&0o7777
		n.record(op{kind: chmodded, on: n.inode, at: int64(n.mode)})
	}
	if size, ok := in.GetSize(); ok {
		o := op{kind: resized, on: n.inode, at: int64(size)}
		n.content = o.apply(n.content)
		n.record(o)
	}
	n.attributes(&out.Attr)
	return 0
}

func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Fsync is also that of directories.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.of.ops = append(n.of.ops, op{kind: synced, on: n.inode})
	return 0
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks = 1 << 20
	out.Bsize, out.Frsize, out.Blocks, out.Bfree, out.Bavail, out.NameLen = 4096, 4096, blocks, blocks, blocks, 255
	return 0
}
