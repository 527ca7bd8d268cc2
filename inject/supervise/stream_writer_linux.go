package supervise

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// streamWriter writes to a file descriptor, completely and in order, whether or not it is in non-blocking mode. Writes to
// a pipe or socket block while its reader doesn't read, and can be interrupted; the rest is then kept.
type streamWriter struct {
	fd      int
	kind    uint32       // S_IFIFO, ...
	pipefs  bool         // a pipe without a name: no new reader can open it
	noWait  bool         // the kernel supports non-blocking writes without a change of the descriptor's flags
	wake    int          // readable when something has changed
	parking *atomic.Bool // stop writing
	passing *atomic.Bool // if false, the terminal puts a CR before each LF, as the pty has already done; nil: no terminal
	rest    []byte       // what wasn't written because of parking
}

func newStreamWriter(fd, wake int, parking *atomic.Bool) *streamWriter {
	s := &streamWriter{fd: fd, wake: wake, parking: parking}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(fd, &st) == nil {
		s.kind = st.Mode & unix.S_IFMT
		s.pipefs = unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PIPEFS_MAGIC
		s.noWait = s.kind == unix.S_IFIFO || s.kind == unix.S_IFSOCK
	}
	return s
}

// watched returns the descriptor if an error reported by poll means that its reader is gone for good, else -1.
func (s *streamWriter) watched() int {
	if s.pipefs || s.kind == unix.S_IFSOCK || isTerminal(s.fd) {
		return s.fd
	}
	return -1
}

func (s *streamWriter) Write(b []byte) (int, error) {
	p := b
	if s.passing != nil && !s.passing.Load() {
		p = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	}
	for written := 0; written < len(p); {
		n, err := s.write(p[written:])
		switch {
		case err == nil:
			written += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if s.parking.Load() {
				s.rest = append(s.rest, p[written:]...)
				return len(b), nil
			}
			s.wait()
		default:
			return written, os.NewSyscallError("write", err)
		}
	}
	return len(b), nil
}

// resume writes what an interrupted write left.
func (s *streamWriter) resume() error {
	rest := s.rest
	s.rest = nil
	_, err := s.Write(rest)
	clear(rest)
	return err
}

func (s *streamWriter) write(p []byte) (int, error) {
	if s.noWait {
		n, err := unix.Pwritev2(s.fd, [][]byte{p}, -1, unix.RWF_NOWAIT)
		switch err {
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL: // an old kernel
			s.noWait = false
		default:
			return n, err
		}
	}
	return unix.Write(s.fd, p)
}

// wait blocks until there is room or something has changed.
func (s *streamWriter) wait() {
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, -1)
	if fds[1].Revents != 0 {
		clearEvent(s.wake)
	}
}

// raiseEvent makes an eventfd readable, and clearEvent undoes that.
func raiseEvent(fd int) { _, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func clearEvent(fd int) {
	var b [8]byte
	_, _ = unix.Read(fd, b[:])
}
