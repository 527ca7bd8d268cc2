package memory

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The kinds of memory, best first.
const (
	secret   = "memfd_secret" // mapped by this process only: not even the kernel or root's /proc/PID/mem reads it
	locked   = "locked"       // never swapped, not in cores, zero in a forked child
	unlocked = "unlocked"     // not in cores; RLIMIT_MEMLOCK allows no more
)

// noSecretMemory: this kernel has no memfd_secret, so it isn't asked again.
var noSecretMemory atomic.Bool

// allocate gives n zeroed bytes of the best kind there is.
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

// secretPages maps memory that the kernel takes out of its own address space.
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

// Harden makes this process fit to hold values for long: its memory can't be read by others of its uid,
// it leaves no core file, and its heap is collected early rather than late, so that neither garbage nor
// a hostile answer makes it grow. Programs it starts may have cores again if they ask for them.
func Harden() error {
	debug.SetMemoryLimit(heapLimit)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("read the limit of core files: %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("allow no core files: %w", err)
	}
	return nil
}
