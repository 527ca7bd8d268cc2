package inject

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A helper is this program, started again to do one thing for a supervisor. It gets its orders from a socket, which
// is its standard input, and has values in its memory as the supervisor has, so it is protected in the same way.
// docs/adr/0013-masked-output.md says why there are helpers.

// outputHelper is the argument of the helper that passes output on. It is what ps shows.
const outputHelper = "(output)"

// helperTimeout is how long a helper has to take over. A machine under load may take a second.
const helperTimeout = 10 * time.Second

// Helper is the program as a helper: main calls it before anything else. It reports false where the arguments
// don't ask for one.
func Helper(args []string) (code int, ok bool) {
	if len(args) != 2 {
		return 0, false
	}
	var main func() error
	switch args[1] {
	case outputHelper:
		main = outputHelperMain
	case sessionHelper:
		main = sessionHelperMain
	default:
		return 0, false
	}
	if _, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return 0, false
	}
	if err := main(); err != nil {
		return ExitFailed, true
	}
	return 0, true
}

// startHelper starts a helper, with a file as its standard output, or -1 for none. It returns our end of its socket.
func startHelper(kind string, output int, attr *syscall.SysProcAttr) (pid, conn int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, -1, fmt.Errorf("socket to a helper: %w", err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(pair[0])
		return 0, -1, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = unix.Close(null) }()
	c := Command{Path: "/proc/self/exe", Args: []string{"miosa-env", kind}}
	if output < 0 {
		output = null
	}
	files := [3]uintptr{uintptr(pair[1]), uintptr(output), uintptr(null)}
	pid, err = spawn(c, files, attr)
	if err != nil {
		_ = unix.Close(pair[0])
		return 0, -1, fmt.Errorf("start a helper: %w", err)
	}
	limit := unix.NsecToTimeval(int64(helperTimeout))
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	return pid, pair[0], nil
}

// beHelper makes this process what a helper is: no other process of the user can look into it.
func beHelper() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make process undumpable: %w", err)
	}
	name := [16]byte{}
	copy(name[:], "miosa-env") // else it is exe
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	return nil
}

// outlast has no signal that is meant for the supervisor or its group end this process, nor keep a directory in use.
func outlast() {
	for n := syscall.Signal(1); n <= lastRealTime; n++ {
		if n != unix.SIGCHLD && n != unix.SIGURG {
			signal.Ignore(n)
		}
	}
	_ = unix.Chdir("/")
}

// send sends a message as JSON, with file descriptors.
func send(conn int, message any, fds ...int) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("send to a helper: %w", err)
	}
	defer clear(body)
	header := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(conn, header, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send to a helper: %w", err)
	}
	for sent := 0; sent < len(body); {
		n, err := unix.SendmsgN(conn, body[sent:], nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("send to a helper: %w", err)
		}
		sent += max(n, 0)
	}
	return nil
}

// receive receives what send sent. The descriptors are the caller's to close.
func receive(conn int, message any) (fds []int, err error) {
	var header [4]byte
	rights := make([]byte, unix.CmsgSpace(maxRights*4))
	n, rn := 0, 0
	for {
		n, rn, _, _, err = unix.Recvmsg(conn, header[:], rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("receive: %w", err)
	case n != len(header):
		return nil, io.ErrUnexpectedEOF
	}
	if rn > 0 {
		control, err := unix.ParseSocketControlMessage(rights[:rn])
		if err == nil && len(control) > 0 {
			fds, err = unix.ParseUnixRights(&control[0])
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
	}
	body := make([]byte, binary.LittleEndian.Uint32(header[:]))
	defer clear(body)
	for got := 0; got < len(body); {
		n, err := unix.Read(conn, body[got:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fds, fmt.Errorf("receive: %w", err)
		case n == 0:
			return fds, io.ErrUnexpectedEOF
		}
		got += max(n, 0)
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fds, fmt.Errorf("receive: %w", err)
	}
	return fds, nil
}

// maxRights is how many descriptors the kernel passes in one message.
// Source: include/net/scm.h (SCM_MAX_FD).
const maxRights = 253
