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
)

// device decides what becomes of the writes and syncs of this process. No failing disk is at hand where tests
// run, so the kernel is told by a seccomp filter to ask us about each of these calls: to those that are to fail
// it answers EIO, as it does for a device that has failed, and the others it makes.
type device struct {
	listener int
	failing  atomic.Pointer[failing] // nil: nothing
	failed   atomic.Int64            // calls that were answered with EIO
}

// failing is what a broken device can't do any more.
type failing struct {
	file  string // the end of a path
	write bool   // pwrite64, ftruncate
	sync  bool   // fsync, fdatasync
}

// The kernel's struct seccomp_notif and struct seccomp_notif_resp.
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

// breakable puts all threads of this process under a device, for good.
func breakable() (*device, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	asked := []uint32{unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the call's number
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
		return nil, fmt.Errorf("no seccomp filter that asks: %w", errno)
	}
	d := &device{listener: int(fd)}
	go d.answer()
	return d, nil
}

// answer answers the kernel for as long as the process lives.
func (d *device) answer() {
	for {
		var q seccompAsk
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q)))
		if errno == unix.EINTR || errno == unix.ENOENT { // who asked was interrupted
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

// The device under a vault fails: writes, syncs or both, of the log, of the database, or of everything, and
// comes back. What was acknowledged is there and nothing else is, nothing is revealed that isn't audited, and
// all is well again without a restart.
func TestFault_V3_FailingDevice(t *testing.T) {
	if !alone(t, nil) {
		return
	}
	device, err := breakable()
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
		refuses bool // every write; else those go on, for as long as the log takes them
	}{
		{"the log can't be written", failing{log, true, false}, true},
		{"the log can't be synced", failing{log, false, true}, true},
		{"the log can't be either", failing{log, true, true}, true},
		{"the database can't be written", failing{database, true, false}, false},
		{"the database can't be synced", failing{database, false, true}, false},
		{"nothing can be written or synced", failing{"", true, true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newIll(t)
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
				d.reads(t)
				if given := d.tryReveal(t); given && tt.refuses {
					t.Error("revealed")
				}
				if !tt.refuses && round == 2 { // until the log must be moved into the database
					for range 100 {
						d.put(t, 60_000)
					}
					d.reads(t)
				}
				if n := device.failed.Load() - failed; n == 0 && (tt.refuses || round == 2) {
					t.Error("no call has failed: this tests nothing")
				}
				device.failing.Store(nil)
				d.recovers(t)
			}
			d.restarts(t)
		})
	}
}
