package inject

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// spawn starts a command. It finds signals ignored and blocked, standard streams closed and the limit of
// open files as we found them, and variables that name us by process id (see ownID) name it.
//
// This is syscall.ForkExec, but for that: there a child has the dispositions that its parent has at the
// moment of the fork, and a parent that ignores CHLD, be it for that moment, can miss the child's end.
func spawn(c Command, files [3]uintptr, attr *syscall.SysProcAttr) (int, error) {
	child, err := newChild(c, files, attr)
	if err != nil {
		return 0, startError(c.Path, err)
	}
	pid, err := child.start()
	if err != nil && attr.Foreground { // the terminal went away meanwhile
		child.attr.Foreground = false
		pid, err = child.start()
	}
	if err != nil {
		return 0, startError(c.Path, err)
	}
	return pid, nil
}

// child is what becomes of a fork. All of it is allocated before, since the fork may allocate nothing.
type child struct {
	path      *byte
	argv, env []*byte
	files     [3]int // -1: closed
	attr      syscall.SysProcAttr
	ignored   inherited.Signals
	blocked   inherited.Signals
	limit     *syscall.Rlimit
	ids       []idEntry
	parent    uintptr
	failed    int // the pipe that an errno is written to

	// What system calls in the fork read and write.
	group  int32
	now    syscall.Rlimit
	pidfd  syscall.Stat_t
	action sigaction
	errno  syscall.Errno
}

// idEntry is an entry of the environment in which the fork writes a number of its own, as digits.
type idEntry struct {
	digits *[20]byte // followed by a NUL
	pidfd  bool      // the id of its pidfd, not of the process
}

// listenPidfd holds the id of a process's pidfd, as LISTEN_PID holds its process id. By these, and by WATCHDOG_PID,
// systemd says which process something is meant for: sockets that are passed on, and the watchdog.
// Source: sd_listen_fds(3), sd_watchdog_enabled(3).
const listenPidfd = "LISTEN_PIDFDID"

func newChild(c Command, files [3]uintptr, attr *syscall.SysProcAttr) (*child, error) {
	n := &child{
		attr: *attr, ignored: inherited.Ignored(), blocked: inherited.Blocked(), limit: inherited.Files(),
		parent: uintptr(os.Getpid()),
	}
	if c.asks {
		n.ignored &^= inherited.Set(unix.SIGTTIN, unix.SIGTTOU)
	}
	for i, fd := range files {
		if n.files[i] = int(fd); inherited.Closed(n.files[i]) {
			n.files[i] = -1
		}
	}
	var err error
	if n.path, err = syscall.BytePtrFromString(c.Path); err != nil {
		return nil, err
	}
	if n.argv, err = syscall.SlicePtrFromStrings(c.Args); err != nil {
		return nil, err
	}
	if n.env, err = syscall.SlicePtrFromStrings(c.Env); err != nil {
		return nil, err
	}
	for i, entry := range c.Env {
		name, value, _ := strings.Cut(entry, "=")
		if own := ownID(name, os.Getpid()); own == "" || own != value {
			continue
		}
		room := make([]byte, len(name)+1+len(idEntry{}.digits)+1)
		copy(room, name+"=")
		n.env[i] = &room[0]
		n.ids = append(n.ids, idEntry{(*[20]byte)(room[len(name)+1:]), name == listenPidfd})
	}
	return n, nil
}

// ownID is what a variable of systemd's has where it names a process. It is empty for other variables, and
// where the system has no such id.
func ownID(name string, pid int) string {
	switch name {
	case "LISTEN_PID", "WATCHDOG_PID":
		return strconv.Itoa(pid)
	case listenPidfd:
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return ""
		}
		defer func() { _ = unix.Close(fd) }()
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			return ""
		}
		return strconv.FormatUint(st.Ino, 10)
	}
	return ""
}

// start forks. It returns once the command runs, or couldn't be executed.
func (n *child) start() (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(p[0]) }()
	n.failed = p[1]
	pid, errno := n.fork()
	_ = unix.Close(p[1])
	if errno != 0 {
		return 0, errno
	}
	for {
		// By a pipe, since an emulator may not have the fork share our memory.
		k, err := unix.Read(p[0], unsafe.Slice((*byte)(unsafe.Pointer(&errno)), unsafe.Sizeof(errno)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && k == 0:
			return pid, nil
		case err != nil:
			return 0, err
		}
		for errors.Is(wait(pid), unix.EINTR) {
		}
		return 0, errno
	}
}

func wait(pid int) error {
	_, err := unix.Wait4(pid, nil, 0, nil)
	return err
}

// fork blocks every signal while parent and child share memory and stack: a handler of the runtime's that
// ran in the child would take itself for the parent.
func (n *child) fork() (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	before := setMask(^inherited.Signals(0))
	pid, errno := forkAndExec(n)
	setMask(before)
	runtime.KeepAlive(n)
	return int(pid), errno
}

// forkAndExec returns in the parent only. The child runs on the stack of this very call, while the parent
// waits, so it calls nothing that could grow the stack, allocate or be preempted.
//
//go:noinline
//go:nosplit
//go:norace
//go:nocheckptr
func forkAndExec(n *child) (pid uintptr, errno syscall.Errno) {
	pid, errno = vfork()
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	n.errno = n.become()
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(n.failed), uintptr(unsafe.Pointer(&n.errno)), unsafe.Sizeof(n.errno))
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 253, 0, 0)
	}
}

// vfork is clone(2) with CLONE_VM and CLONE_VFORK. It returns 0 in the child.
func vfork() (pid uintptr, errno syscall.Errno)

// become turns the child into the command, or returns why it couldn't.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) become() (errno syscall.Errno) {
	if errno = n.arrange(); errno != 0 {
		return errno
	}
	if errno = n.plug(); errno != 0 {
		return errno
	}
	if n.attr.Setctty {
		if _, _, errno = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(n.attr.Ctty), syscall.TIOCSCTTY, 1); errno != 0 {
			return errno
		}
	}
	n.restore()
	n.name()
	if _, _, errno = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&n.blocked)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(n.path)),
		uintptr(unsafe.Pointer(&n.argv[0])), uintptr(unsafe.Pointer(&n.env[0])))
	return errno
}

// arrange sets session, process group, foreground and the signal at our death.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) arrange() (errno syscall.Errno) {
	if n.attr.Setsid {
		if _, _, errno = syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0); errno != 0 {
			return errno
		}
	}
	if n.attr.Setpgid || n.attr.Foreground {
		if _, _, errno = syscall.RawSyscall(syscall.SYS_SETPGID, 0, 0, 0); errno != 0 {
			return errno
		}
	}
	if n.attr.Foreground { // TTOU is blocked
		pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
		n.group = int32(pid)
		if _, _, errno = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(n.attr.Ctty), syscall.TIOCSPGRP, uintptr(unsafe.Pointer(&n.group))); errno != 0 {
			return errno
		}
	}
	if n.attr.Pdeathsig != 0 {
		if _, _, errno = syscall.RawSyscall6(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(n.attr.Pdeathsig), 0, 0, 0, 0); errno != 0 {
			return errno
		}
		if parent, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); parent != n.parent { // we have died already
			pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
			_, _, _ = syscall.RawSyscall(syscall.SYS_KILL, pid, uintptr(n.attr.Pdeathsig), 0)
		}
	}
	return 0
}

// plug puts files at 0, 1 and 2.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) plug() syscall.Errno {
	for i, fd := range n.files {
		if fd >= 0 && fd < i { // else it would be overwritten before it is used
			up, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 3)
			if errno != 0 {
				return errno
			}
			n.files[i] = int(up)
		}
	}
	for i, fd := range n.files {
		var errno syscall.Errno
		switch fd {
		case -1:
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(i), 0, 0)
		case i:
			_, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0)
		default:
			_, _, errno = syscall.RawSyscall(syscall.SYS_DUP3, uintptr(fd), uintptr(i), 0)
		}
		if errno != 0 {
			return errno
		}
	}
	return 0
}

// restore sets what the runtime has changed: what signals do, and the limit of open files unless somebody
// else has set it since.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) restore() {
	for sig := uintptr(1); sig <= lastRealTime; sig++ {
		n.action.Handler = uintptr(n.ignored >> (sig - 1) & 1) // 0 is the default, 1 ignores
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&n.action)), 0, 8, 0, 0)
	}
	if n.limit == nil {
		return
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&n.now)), 0, 0)
	if errno == 0 && n.now.Max == n.limit.Max && n.now.Cur == n.limit.Max-1 { // as the runtime leaves it
		_, _, _ = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(n.limit)), 0, 0, 0)
	}
}

// name writes the child's own ids into its environment.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) name() {
	for i := range n.ids {
		pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
		id := uint64(pid)
		if n.ids[i].pidfd {
			fd, _, errno := syscall.RawSyscall(unix.SYS_PIDFD_OPEN, pid, 0, 0)
			if errno != 0 {
				continue
			}
			_, _, _ = syscall.RawSyscall(syscall.SYS_FSTAT, fd, uintptr(unsafe.Pointer(&n.pidfd)), 0)
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
			id = n.pidfd.Ino
		}
		length := 1
		for rest := id / 10; rest > 0; rest /= 10 {
			length++
		}
		n.ids[i].digits[length%20] = 0
		for at := length - 1; at >= 0; at-- {
			n.ids[i].digits[at%20] = byte('0' + id%10)
			id /= 10
		}
	}
}
