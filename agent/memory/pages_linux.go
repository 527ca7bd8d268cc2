package memory

import (
	"errors"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/harden"
)

// The kinds of memory, best first.
const (
	secret   = "memfd_secret" // not even the kernel, or root through /proc/PID/mem, can read it
	locked   = "locked"       // never swapped, not in cores, zero in a forked child
	unlocked = "unlocked"     // not in cores; RLIMIT_MEMLOCK allows no more
)

// noSecretMemory is set if the kernel doesn't have memfd_secret.
var noSecretMemory atomic.Bool

// allocate returns n zeroed bytes of the best kind that is available, and that kind.
func allocate(n int) ([]byte, string) {
	if n == 0 {
		return nil, heap
	}
	if b, err := secretPages(n); err == nil {
		return b, secret
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return make([]byte, n), heap
	}
	_ = unix.Madvise(b, unix.MADV_DONTDUMP)
	_ = unix.Madvise(b, unix.MADV_WIPEONFORK)
	if unix.Mlock(b) != nil {
		return b, unlocked
	}
	return b, locked
}

// secretPages maps memory that the kernel removes from its own address space.
func secretPages(n int) ([]byte, error) {
	if noSecretMemory.Load() {
		return nil, unix.ENOSYS
	}
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		noSecretMemory.Store(errors.Is(err, unix.ENOSYS))
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(b, unix.MADV_DONTFORK)
	return b, nil
}

func release(b []byte, kind string) {
	if kind != heap {
		_ = unix.Munmap(b)
	}
}

// Harden prepares a process to hold values for a long time: other processes of its user can't read its memory, it leaves
// no core file, and its heap stays small. Programs that it starts may raise the limit of core files again.
func Harden() error {
	debug.SetMemoryLimit(heapLimit)
	if err := harden.ForbidDumps(); err != nil {
		return err
	}
	return harden.ForbidCores()
}
