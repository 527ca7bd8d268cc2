package supervise

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	ossignal "os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/internal/harden"
)

// A helper is a second process of this program that does one task for a supervisor. It gets its orders from a socket, its
// standard input. It has values in memory, so it is protected as the supervisor is.
// docs/adr/0013-masked-output.md explains why helpers are needed.

// helperTimeout is how long a helper may take to start. On a busy machine it may take a second.
const helperTimeout = 10 * time.Second

// Helper runs this process as a helper if args ask for one, and returns its exit code. Call it first in main.
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
		return command.ExitFailed, true
	}
	return 0, true
}

// startHelper starts a helper with the given standard output, -1 for none, and returns this process's end of its socket.
func startHelper(kind string, output int, attr syscall.SysProcAttr) (pid, conn int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, -1, fmt.Errorf("socket to a helper: %w", err)
	}
	defer func() {
		_ = unix.Close(pair[1])
		if err != nil {
			_ = unix.Close(pair[0])
		}
	}()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, -1, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = unix.Close(null) }()
	if output < 0 {
		output = null
	}
	c := command.Command{Path: "/proc/self/exe", Args: []string{"miosa-env", kind}}
	pid, err = c.Start(command.Attr{Files: [3]int{pair[1], output, null}, SysProcAttr: attr})
	if err != nil {
		return 0, -1, fmt.Errorf("start a helper: %w", err)
	}
	limit := unix.NsecToTimeval(int64(helperTimeout))
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	return pid, pair[0], nil
}

// becomeHelper makes this process undumpable and sets its name.
func becomeHelper() error {
	if err := harden.ForbidDumps(); err != nil {
		return err
	}
	name := [16]byte{}
	copy(name[:], "miosa-env") // otherwise "exe"
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	return nil
}

// outlast makes this process ignore signals to the supervisor's group, and leave its working directory.
func outlast() {
	for n := syscall.Signal(1); n <= signal.Last; n++ {
		if n != unix.SIGCHLD && n != unix.SIGURG {
			ossignal.Ignore(n)
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

// receive receives what send sent. The caller closes the descriptors.
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

// maxRights is the maximum number of descriptors in a message.
// Source: include/net/scm.h (SCM_MAX_FD).
const maxRights = 253
