package inject

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// relay carries bytes from a file descriptor to a writer on a thread of its own, which blocks as a
// reader or writer without us would: what flows is bounded by those at both ends.
type relay struct {
	from  int                     // ours to close
	to    io.Writer               // a MaskWriter for output, a keyboard for input
	drain bool                    // at the end, pass on what is left to read
	eager bool                    // a person is watching: when the output pauses, show what a masker holds back
	next  *atomic.Pointer[Masker] // what to mask with from the next read on, where that changes
	wake  [2]int                  // a byte in this pipe says that the command has ended
	done  chan struct{}
}

// startRelay begins to carry. Whoever starts a relay calls finish, then waits for done.
func startRelay(r relay) (*relay, error) {
	r.done, r.next = make(chan struct{}), new(atomic.Pointer[Masker])
	if err := unix.Pipe2(r.wake[:], unix.O_CLOEXEC); err != nil {
		_ = unix.Close(r.from)
		return nil, fmt.Errorf("pipe for output: %w", err)
	}
	go r.run()
	return &r, nil
}

// finish says that the command has ended. What it wrote is passed on; what its descendants may write
// later isn't waited for. done is closed when that is so.
func (r *relay) finish() {
	_, _ = unix.Write(r.wake[1], []byte{0})
}

// run closes its side when ours breaks, so the command meets the broken pipe it would have met.
func (r *relay) run() {
	defer close(r.done)
	if masked, ok := r.to.(*MaskWriter); r.carry() == nil && ok {
		_ = masked.Flush()
	}
	_ = unix.Close(r.from)
}

func (r *relay) carry() error {
	buffer := make([]byte, 32<<10)
	fds := []unix.PollFd{{Fd: int32(r.from), Events: unix.POLLIN}, {Fd: int32(r.wake[0]), Events: unix.POLLIN}}
	masked, _ := r.to.(*MaskWriter)
	const forever, now = -1, 0
	wait := forever
	for {
		n, err := unix.Poll(fds, wait)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("wait for output: %w", err)
		case n == 0 && wait == now:
			return nil // ended, and nothing is left
		case n == 0:
			wait = forever
			if err := masked.Release(); err != nil {
				return err
			}
			continue
		case len(fds) == 2 && fds[1].Revents != 0:
			if !r.drain {
				return nil
			}
			fds, wait = fds[:1], now
			continue
		}
		n, err = unix.Read(r.from, buffer)
		switch {
		case n > 0:
			if next := r.next.Swap(nil); next != nil && masked != nil {
				masked.become(next)
			}
			if _, err := r.to.Write(buffer[:n]); err != nil {
				return err
			}
			if r.eager && wait != now {
				wait = releaseAfter
			}
		case err == unix.EINTR, err == unix.EAGAIN:
		default: // end of file, or EIO: the pty's last user is gone
			return nil
		}
	}
}

// releaseAfter is the pause in a terminal's output, in milliseconds, after which a masker shows the
// few bytes it holds back: nearly every letter that is typed could be the start of something.
const releaseAfter = 30

// stream writes to a file descriptor, whole, whatever its mode.
type stream int

func (fd stream) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(int(fd), p[written:])
		switch err {
		case nil:
			written += n
		case unix.EINTR:
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		default:
			return written, os.NewSyscallError("write", err)
		}
	}
	return written, nil
}
