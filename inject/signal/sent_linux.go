package signal

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sent is a signal as it was sent: the start of the kernel's siginfo_t.
// Source: sigaction(2).
type Sent struct {
	number, errno, code, _ int32
	pid                    int32
	uid                    uint32
	value                  uint64
}

// siginfo is the kernel's siginfo_t.
type siginfo struct {
	Sent
	_ [96]byte
}

// Signal returns the signal.
func (s Sent) Signal() syscall.Signal { return syscall.Signal(s.number) }

// HasValue reports whether s is a real-time signal that was sent with a value, by sigqueue(3).
func (s Sent) HasValue() bool {
	const siQueue = -1
	return s.code == siQueue && s.number >= firstRealTime
}

// ByKernel reports whether the kernel sent the signal, and not a process.
func (s Sent) ByKernel() bool { return s.code > 0 }

// BySelf reports whether this process sent the signal.
func (s Sent) BySelf() bool { return int(s.pid) == os.Getpid() }

// SendTo sends the signal, with its value and sender, to a process.
func (s Sent) SendTo(pid int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(s.number), uintptr(unsafe.Pointer(&siginfo{Sent: s})))
	if errno != 0 {
		return errno
	}
	return nil
}

// SendToThread sends the signal, with its value and sender, to the calling thread.
func (s Sent) SendToThread() {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(unix.Getpid()), uintptr(unix.Gettid()),
		uintptr(s.number), uintptr(unsafe.Pointer(&siginfo{Sent: s})), 0, 0)
}
