package supervise

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// relay copies a command's output through a mask to a standard stream, on its own goroutine. It blocks as the command would
// without it, so the pipes on both sides bound what is in flight. It ends when the last writer has closed its end, or when
// the stream can't be written to; then it closes from, so that later writes fail.
type relay struct {
	from        int          // a pipe's end or a pty's master; closed by the relay
	to          *mask.Writer // writes to out
	out         *streamWriter
	masker      *mask.Masker                // of to
	next        atomic.Pointer[mask.Masker] // to use from the next read on; nil: no change
	session     *session                    // of the pty, which must last as long as its output; may be nil
	interactive bool                        // reads from a pty: when output pauses, write what the mask holds back

	ending  atomic.Bool // the command has ended: close drained when its output has been written
	parking atomic.Bool // stop
	mu      sync.Mutex  // held to close wake, and to use it on another goroutine
	wake    int         // an eventfd that interrupts waiting for input, or for room in out; -1: closed, since the relay has ended

	drained chan struct{} // closed when the command's output has been written, or the relay has ended
	stopped chan struct{} // closed when the goroutine has returned; the fields below are valid then
	ended   bool          // there is no writer or no reader any more
	lost    error         // why output was lost; may be nil
}

var (
	errReaderGone = errors.New("its reader is gone")
	errParked     = errors.New("parked")
)

// newRelay returns a relay from a descriptor to a standard stream. It closes from on errors.
func newRelay(from, to int, m *mask.Masker) (*relay, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(from)
		return nil, fmt.Errorf("relay output: %w", err)
	}
	r := &relay{from: from, masker: m, wake: wake, drained: make(chan struct{}), stopped: make(chan struct{})}
	r.out = newStreamWriter(to, wake, &r.parking)
	r.to = m.Writer(r.out)
	return r, nil
}

// end is called when the command has ended. drained is closed when its output has been written.
func (r *relay) end() {
	r.ending.Store(true)
	r.raise()
}

// park stops the relay, so that another process can continue it. The caller waits for stopped.
func (r *relay) park() {
	r.parking.Store(true)
	r.raise()
}

// raise interrupts the relay's waiting.
func (r *relay) raise() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake >= 0 {
		raiseEvent(r.wake)
	}
}

// run copies until the end, or until the relay is parked. It calls report if output is lost.
func (r *relay) run(report func(error)) {
	defer close(r.stopped)
	err := r.out.resume()
	if err == nil {
		err = r.copy()
	}
	if errors.Is(err, errParked) {
		return
	}
	r.close(err)
	if r.lost != nil {
		report(r.lost)
	}
	if !isClosed(r.drained) {
		close(r.drained)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = unix.Close(r.wake)
	r.wake = -1
}

// close ends the relay; err is why nothing more can be written, or nil.
func (r *relay) close(err error) {
	if err == nil {
		err = r.to.Flush()
	}
	_ = unix.Close(r.from)
	r.ended, r.lost = true, err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// copy returns nil at the end of the input, errParked, or why nothing more can be written.
func (r *relay) copy() error {
	buffer := make([]byte, mask.BlockSize)
	// The output is polled only for errors: its reader may go away.
	fds := []unix.PollFd{{Fd: int32(r.from), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}, {Fd: int32(r.out.watched())}}
	const forever, now = -1, 0
	wait, left := forever, -1 // left: bytes of the command's output, once it has ended
	for {
		switch {
		case r.parking.Load():
			return errParked
		case left < 0 && r.ending.Load():
			left = r.waiting()
		}
		ending := left >= 0 && !isClosed(r.drained)
		if ending {
			wait = now
		}
		n, err := unix.Poll(fds, wait)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("wait for output: %w", err)
		}
		if ending && (left == 0 || n == 0) && fds[0].Revents&^unix.POLLIN == 0 {
			close(r.drained)
			wait = forever
			if r.interactive {
				wait = releaseAfter
			}
			continue
		}
		if n == 0 {
			wait = forever
			if err := r.to.Release(); err != nil {
				return err
			}
			continue
		}
		if fds[1].Revents != 0 {
			clearEvent(r.wake)
		}
		if fds[0].Revents != 0 {
			n, err = unix.Read(r.from, buffer)
			switch {
			case n > 0:
				if left > 0 {
					left = max(0, left-n)
				}
				if next := r.next.Swap(nil); next != nil {
					r.to.SetMasker(next)
					r.masker = next
				}
				if _, err := r.to.Write(buffer[:n]); err != nil {
					return err
				}
				if r.interactive {
					wait = releaseAfter
				}
			case err == unix.EINTR, err == unix.EAGAIN:
			default: // end of file, or EIO when the pty's last user is gone
				return nil
			}
		} else if fds[2].Revents != 0 {
			if r.waiting() > 0 || r.to.Held() > 0 {
				return errReaderGone
			}
			return nil
		}
	}
}

// waiting returns how many bytes can be read now. A pty may have more than the kernel reports.
func (r *relay) waiting() int {
	n, err := unix.IoctlGetInt(r.from, unix.TIOCINQ)
	if err != nil || r.interactive {
		return ptyBuffer
	}
	return n
}

// ptyBuffer is more than a pty buffers.
// Source: drivers/tty/tty_buffer.c (TTYB_DEFAULT_MEM_LIMIT).
const ptyBuffer = 640 << 10

// releaseAfter is the pause in a terminal's output, in milliseconds, after which the few bytes that a mask holds back are
// written: nearly every typed letter could be the start of a value.
const releaseAfter = 30
