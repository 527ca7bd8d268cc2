package vault_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// device intercepts the write and sync calls of this process, to simulate a failing disk. A seccomp filter makes
// the kernel notify it of each call: calls that must fail return EIO, as from a failed device, and the others are
// executed.
type device struct {
	listener int
	failing  atomic.Pointer[failing] // nil: no failures
	failed   atomic.Int64            // calls that returned EIO
}

// failing describes which calls fail.
type failing struct {
	file  string // suffix of the path
	write bool   // pwrite64, ftruncate
	sync  bool   // fsync, fdatasync
}

// struct seccomp_notif and struct seccomp_notif_resp of the kernel.
type (
	seccompAsk struct {
		id                 uint64
		pid, flags         uint32
		nr                 int32
		arch               uint32
		instructionPointer uint64
		args               [6]uint64
	}
	seccompAnswer struct {
		id    uint64
		value int64
		error int32
		flags uint32
	}
)

// installDevice puts all threads of this process under a device, irrevocably.
func installDevice() (*device, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	asked := []uint32{unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // load the number of the system call
	for i, nr := range asked {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(asked) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return nil, fmt.Errorf("install seccomp filter with notification: %w", errno)
	}
	d := &device{listener: int(fd)}
	go d.serve()
	return d, nil
}

// serve handles notifications until the process exits.
func (d *device) serve() {
	for {
		var q seccompAsk
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q)))
		if errno == unix.EINTR || errno == unix.ENOENT { // the calling thread was interrupted
			continue
		}
		if errno != 0 {
			panic(errno)
		}
		a := seccompAnswer{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if d.fails(&q) {
			d.failed.Add(1)
			a.flags, a.error = 0, -int32(unix.EIO)
		}
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(d.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
		if errno != 0 && errno != unix.ENOENT {
			panic(errno)
		}
	}
}

func (d *device) fails(q *seccompAsk) bool {
	f := d.failing.Load()
	if f == nil {
		return false
	}
	syncs := q.nr == unix.SYS_FSYNC || q.nr == unix.SYS_FDATASYNC
	if syncs && !f.sync || !syncs && !f.write {
		return false
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", q.args[0]))
	return err == nil && strings.HasSuffix(path, f.file)
}

// The device under a vault fails and recovers: writes, syncs or both, of the log, the database or everything.
// Acknowledged writes are kept, refused ones have no effect, no reveal is unaudited, and the vault recovers
// without a restart.
func TestFault_V3_FailingDevice(t *testing.T) {
	vaulttest.OneVault(t, "it needs SQLite")
	postgrestest.SQLiteOnly(t)
	t.Parallel() // most of it is waiting
	if !isolated(t, nil) {
		return
	}
	device, err := installDevice()
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY) {
		needs.Granted(t, err, "a block device that can be made to fail")
	}
	if err != nil {
		t.Fatal(err)
	}
	const log, database = "vault.db-wal", "vault.db"
	for _, tt := range []struct {
		name string
		failing
		refuses bool // every write is refused; otherwise writes succeed while the log accepts them
	}{
		{"the log can't be written", failing{log, true, false}, true},
		{"the log can't be synced", failing{log, false, true}, true},
		{"the log can't be either", failing{log, true, true}, true},
		{"the database can't be written", failing{database, true, false}, false},
		{"the database can't be synced", failing{database, false, true}, false},
		{"nothing can be written or synced", failing{"", true, true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newFaultyDiskVault(t)
			for round := range 3 {
				device.failing.Store(&tt.failing)
				failed := device.failed.Load()
				acknowledged := 0
				for range 3 {
					for _, done := range []bool{d.rotate(t), d.put(t, 100), d.put(t, 60_000)} {
						if done {
							acknowledged++
						}
					}
				}
				if tt.refuses && acknowledged > 0 {
					t.Errorf("%d writes acknowledged", acknowledged)
				}
				d.wantReads(t)
				if given := d.tryReveal(t); given && tt.refuses {
					t.Error("revealed without an audit event")
				}
				if !tt.refuses && round == 2 { // until a checkpoint is due
					for range 100 {
						d.put(t, 60_000)
					}
					d.wantReads(t)
				}
				if n := device.failed.Load() - failed; n == 0 && (tt.refuses || round == 2) {
					t.Error("no call failed, so nothing was tested")
				}
				device.failing.Store(nil)
				d.wantRecovery(t)
			}
			d.wantRestart(t)
		})
	}
}
