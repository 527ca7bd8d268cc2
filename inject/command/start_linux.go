package command

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// Attr are attributes of a command to start.
type Attr struct {
	Files [3]int // the standard streams; -1: closed

	// StopsForTerminal makes the kernel stop the command when it uses the terminal from the background, even if TTIN and
	// TTOU were ignored at the start.
	StopsForTerminal bool

	// Of the others, Setsid, Setctty, Ctty, Setpgid, Foreground and Pdeathsig are used.
	syscall.SysProcAttr
}

// Start starts the command. It inherits ignored and blocked signals, closed standard streams and the limit of open files
// as this process did, and variables that contain this process's id contain its own (see OwnID).
//
// Errors: those of StartError.
//
// syscall.ForkExec would give the command the dispositions that this process has at the moment of the fork. And a process
// that ignores CHLD, even for that moment, can miss the child's end.
func (c Command) Start(attr Attr) (pid int, err error) {
	child, err := newChild(c, attr)
	if err != nil {
		return 0, StartError(c.Path, err)
	}
	pid, err = child.start()
	if err != nil && attr.Foreground { // the terminal may be gone
		child.attr.Foreground = false
		pid, err = child.start()
	}
	if err != nil {
		return 0, StartError(c.Path, err)
	}
	return pid, nil
}

// child is a process to fork. All memory is allocated before the fork, which can't allocate.
type child struct {
	path      *byte
	argv, env []*byte
	attr      Attr
	ignored   inherited.Signals
	blocked   inherited.Signals
	limit     *syscall.Rlimit
	ids       []idEntry
	parent    uintptr
	errors    int // the pipe to which the fork writes an errno

	// Memory for the fork's system calls.
	group  int32
	now    syscall.Rlimit
	pidfd  syscall.Stat_t
	action inherited.Action
	errno  syscall.Errno
}

// idEntry is an entry of the environment into which the fork writes its own id.
type idEntry struct {
	digits *[20]byte // followed by a NUL
	pidfd  bool      // the id of the pidfd instead of the process id
}

// listenPidfd contains the id of a process's pidfd, as LISTEN_PID contains its process id. With these systemd names the
// process that passed sockets are for, and with WATCHDOG_PID the one that it watches.
// Source: sd_listen_fds(3), sd_watchdog_enabled(3).
const listenPidfd = "LISTEN_PIDFDID"

func newChild(c Command, attr Attr) (*child, error) {
	n := &child{
		attr: attr, ignored: inherited.Ignored(), blocked: inherited.Blocked(), limit: inherited.Files(),
		parent: uintptr(os.Getpid()),
	}
	if attr.StopsForTerminal {
		n.ignored &^= inherited.Set(unix.SIGTTIN, unix.SIGTTOU)
	}
	for i, fd := range attr.Files {
		if inherited.Closed(fd) {
			n.attr.Files[i] = -1
		}
	}
	var errs [3]error
	n.path, errs[0] = syscall.BytePtrFromString(c.Path)
	n.argv, errs[1] = syscall.SlicePtrFromStrings(c.Args)
	n.env, errs[2] = syscall.SlicePtrFromStrings(c.Env)
	if err := cmp.Or(errs[:]...); err != nil { // a NUL
		return nil, err
	}
	for i, entry := range c.Env {
		name, value, _ := strings.Cut(entry, "=")
		if own := OwnID(name, os.Getpid()); own == "" || own != value {
			continue
		}
		room := make([]byte, len(name)+1+len(idEntry{}.digits)+1)
		copy(room, name+"=")
		n.env[i] = &room[0]
		n.ids = append(n.ids, idEntry{(*[20]byte)(room[len(name)+1:]), name == listenPidfd})
	}
	return n, nil
}

// OwnID returns the content of a variable of systemd that names a process: LISTEN_PID, LISTEN_PIDFDID or WATCHDOG_PID. It
// returns "" for other variables, and if the kernel has no such id.
func OwnID(name string, pid int) string {
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

// start forks. It returns when the command runs or couldn't be executed.
func (n *child) start() (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(p[0]) }()
	n.errors = p[1]
	pid, errno := n.fork()
	_ = unix.Close(p[1])
	if errno != 0 {
		return 0, errno
	}
	for {
		// Through a pipe, since under an emulator the fork may not share this process's memory.
		k, err := unix.Read(p[0], unsafe.Slice((*byte)(unsafe.Pointer(&errno)), unsafe.Sizeof(errno)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && k == 0:
			return pid, nil
		case err != nil:
			return 0, err
		}
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return 0, errno
			}
		}
	}
}

// fork blocks signals while parent and child share memory and stack: a handler of the runtime that ran in the child would act as if
// in the parent.
func (n *child) fork() (int, syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	before := inherited.SetMask(inherited.Blockable)
	pid, errno := forkAndExec(n)
	inherited.SetMask(before)
	runtime.KeepAlive(n)
	return int(pid), errno
}

// forkAndExec returns only in the parent. The child runs on the stack of this call while the parent waits, so it must not
// grow the stack, allocate or be preempted.
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
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(n.errors), uintptr(unsafe.Pointer(&n.errno)), unsafe.Sizeof(n.errno))
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 253, 0, 0)
	}
}

// vfork is clone(2) with CLONE_VM and CLONE_VFORK. It returns 0 in the child.
func vfork() (pid uintptr, errno syscall.Errno)

// become replaces the child by the command. It returns only on errors.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) become() (errno syscall.Errno) {
	if errno = n.setGroup(); errno != 0 {
		return errno
	}
	if errno = n.moveFiles(); errno != 0 {
		return errno
	}
	if n.attr.Setctty {
		if _, _, errno = syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(n.attr.Ctty), syscall.TIOCSCTTY, 1); errno != 0 {
			return errno
		}
	}
	n.restore()
	n.writeIDs()
	if _, _, errno = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&n.blocked)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(n.path)),
		uintptr(unsafe.Pointer(&n.argv[0])), uintptr(unsafe.Pointer(&n.env[0])))
	return errno
}

// setGroup sets the session, process group, foreground and parent-death signal.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) setGroup() (errno syscall.Errno) {
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
		if parent, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); parent != n.parent { // the parent has died already
			pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
			_, _, _ = syscall.RawSyscall(syscall.SYS_KILL, pid, uintptr(n.attr.Pdeathsig), 0)
		}
	}
	return 0
}

// moveFiles moves the files to descriptors 0, 1 and 2.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) moveFiles() syscall.Errno {
	for i, fd := range n.attr.Files {
		if fd >= 0 && fd < i { // it would be overwritten before it is used
			up, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 3)
			if errno != 0 {
				return errno
			}
			n.attr.Files[i] = int(up)
		}
	}
	for i, fd := range n.attr.Files {
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

// restore undoes the runtime's changes to signal dispositions, and to the limit of open files unless it has changed since.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) restore() {
	for sig := uintptr(1); sig <= signal.Last; sig++ {
		n.action.Handler = uintptr(n.ignored >> (sig - 1) & 1) // 0: default, 1: ignore
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&n.action)), 0, 8, 0, 0)
	}
	if n.limit == nil {
		return
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&n.now)), 0, 0)
	if errno == 0 && n.now.Max == n.limit.Max && n.now.Cur == n.limit.Max-1 { // as the runtime sets it
		_, _, _ = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(n.limit)), 0, 0, 0)
	}
}

// writeIDs writes the child's ids into its environment.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (n *child) writeIDs() {
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
