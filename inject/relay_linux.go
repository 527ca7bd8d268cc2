package inject

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// relay passes what a command prints through a mask to one of our streams, on a goroutine that blocks as the
// command would: what is in flight is bounded by the pipe on either side. It ends when the last writer has
// closed its end, or when our stream can't be written to; then it closes from, so that the next write of a
// writer fails.
type relay struct {
	from   int          // a pipe's end or a pty's master; the relay closes it
	to     *mask.Writer // writes to out
	out    *streamWriter
	masker *mask.Masker                // of to
	host   *session                    // of the pty, which has to last as long as its output; may be nil
	eager  bool                        // a pty: when the output pauses, show what a masker holds back
	next   atomic.Pointer[mask.Masker] // what to mask with from the next read on, if that changes

	ending  atomic.Bool // the command has ended: close caught once what it wrote was passed on
	parking atomic.Bool // stop where it is
	wake    int         // an eventfd that interrupts waiting for input, or for room in out

	caught  chan struct{} // closed when what the command wrote was passed on, or the relay has ended
	stopped chan struct{} // closed when the relay's goroutine has returned; the fields below are valid then
	ended   bool          // no writer or no reader is left
	lost    error         // why bytes were lost, if any were
}

// errReaderGone is the loss of output that nobody reads any more.
var errReaderGone = errors.New("its reader is gone")

// newRelay makes a relay from a descriptor to one of our output streams.
func newRelay(from, to int, m *mask.Masker) (*relay, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(from)
		return nil, fmt.Errorf("relay output: %w", err)
	}
	r := &relay{
		from: from, masker: m, wake: wake,
		caught: make(chan struct{}), stopped: make(chan struct{}),
	}
	r.out = newStreamWriter(to, wake, &r.parking)
	r.to = m.Writer(r.out)
	return r, nil
}

// end says that the command has ended. caught is closed when what it wrote until now was passed on.
func (r *relay) end() {
	r.ending.Store(true)
	r.interrupt()
}

// park stops the relay where it is. The caller waits for stopped.
func (r *relay) park() {
	r.parking.Store(true)
	r.interrupt()
}

func (r *relay) interrupt() { _, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// run passes bytes on until the end, or until the relay is parked. report is called if bytes are lost.
func (r *relay) run(report func(error)) {
	defer close(r.stopped)
	err := r.out.resume()
	if err == nil {
		err = r.carry()
	}
	if errors.Is(err, errParked) {
		return
	}
	r.close(err)
	if r.lost != nil {
		report(r.lost)
	}
	if !isClosed(r.caught) {
		close(r.caught)
	}
}

// close ends the relay, with the reason why nothing more can be written, if there is one.
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

var errParked = errors.New("parked")

// carry returns nil at the end of the input, errParked, or why nothing more can be written.
func (r *relay) carry() error {
	buffer := make([]byte, mask.BlockSize)
	// Of the output only errors are polled for: a reader that goes away.
	fds := []unix.PollFd{{Fd: int32(r.from), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}, {Fd: int32(r.out.watched())}}
	const forever, now = -1, 0
	wait, left := forever, -1
	for {
		switch {
		case r.parking.Load():
			return errParked
		case left < 0 && r.ending.Load():
			left = r.waiting()
		}
		ending := left >= 0 && !isClosed(r.caught)
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
			close(r.caught)
			wait = forever
			if r.eager {
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
			var b [8]byte
			_, _ = unix.Read(r.wake, b[:])
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
				if r.eager {
					wait = releaseAfter
				}
			case err == unix.EINTR, err == unix.EAGAIN:
			default: // end of file, or EIO: the pty's last user is gone
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

// waiting is how many bytes can be read now, as far as the kernel says. A pty may have more on their way.
func (r *relay) waiting() int {
	n, err := unix.IoctlGetInt(r.from, unix.TIOCINQ)
	if err != nil || r.eager {
		return ptyBuffer
	}
	return n
}

// ptyBuffer is more than a pty holds.
// Source: drivers/tty/tty_buffer.c (TTYB_DEFAULT_MEM_LIMIT).
const ptyBuffer = 640 << 10

// releaseAfter is the pause in a terminal's output, in milliseconds, after which a masker shows the
// few bytes it holds back: nearly every letter that is typed could be the start of something.
const releaseAfter = 30
