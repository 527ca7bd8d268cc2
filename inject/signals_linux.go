package inject

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// firstRealTime and lastRealTime are SIGRTMIN and SIGRTMAX as C libraries number them. No signal comes
// after them.
const firstRealTime, lastRealTime = 34, 64

// Signals is every signal sent to this process from CatchSignals on, so that none is lost or acted on
// between then and the start of a command.
//
// A handler of our own catches them (catch_linux_*.s), not os/signal: that merges real-time signals of one
// kind, keeps some from us, and can't say who sent a signal.
type Signals struct {
	arrived  chan struct{} // there is something in queue
	children chan struct{} // a child ended or stopped: look at all
	flushed  chan struct{} // see rest

	mu    sync.Mutex // guards queue
	queue []sent     // in the order they were sent; grows as it must, since the handler can't wait
}

// sent is a signal as it was sent: the start of the kernel's siginfo_t.
// Source: sigaction(2).
type sent struct {
	number, errno, code, _ int32
	pid                    int32
	uid                    uint32
	value                  uint64
}

// siginfo is a siginfo_t as the kernel copies it.
type siginfo struct {
	sent
	_ [96]byte
}

func (s sent) signal() syscall.Signal { return syscall.Signal(s.number) }

// withValue reports whether sigqueue(3) sent the signal.
func (s sent) withValue() bool {
	const siQueue = -1
	return s.code == siQueue
}

// byKernel reports whether the kernel sent the signal by itself, and no process.
func (s sent) byKernel() bool { return s.code > 0 }

// What the handler of catch_linux_*.s reads. Set before it is installed.
var (
	catchPipe int32 // where it writes
	ownPID    int32 //nolint:unused // whose SIGPIPE it drops; read by assembly
	ownThread int32 //nolint:unused // the one thread that real-time signals come to; read by assembly
	// ordered is the real-time signals.
	ordered = inherited.Signals(math.MaxUint64 >> (firstRealTime - 1) << (firstRealTime - 1))
	// faults are the signals by which the kernel reports a mistake in a program.
	faults = inherited.Set(unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS) //nolint:unused // read by assembly
	// runtimeHandlers, by signal, get our own faults and what the runtime sends its threads.
	runtimeHandlers [lastRealTime + 1]uintptr
)

// catchHandler gives the addresses of the handler and of what the kernel runs after it.
func catchHandler() (handler, restorer uintptr)

// CatchSignals takes over all signals that can be caught. Call it once a process, from the goroutine that
// calls Supervision.Run or Replace next: it stays on its thread from now on.
func CatchSignals() (*Signals, error) {
	runtime.LockOSThread()
	s := &Signals{arrived: make(chan struct{}, 1), children: make(chan struct{}, 1), flushed: make(chan struct{})}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe for signals: %w", err)
	}
	// Only the writing side doesn't block: the handler may drop a signal, but never hang. It takes 32,000
	// that nobody has read yet, where the user's limit of memory in pipes allows.
	if err := unix.SetNonblock(p[1], true); err != nil {
		return nil, fmt.Errorf("pipe for signals: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20)
	catchPipe, ownPID, ownThread = int32(p[1]), int32(os.Getpid()), int32(unix.Gettid())
	go s.read(p[0])
	// A write of ours that meets a closed pipe is an error and no signal to pass on. The runtime would make
	// one of it and end us, if it didn't take PIPE for ignored.
	signal.Ignore(unix.SIGPIPE)
	const withInfo, onStack, restart, hasRestorer = 0x4, 0x08000000, 0x10000000, 0x04000000
	handler, restorer := catchHandler()
	catch := sigaction{Handler: handler, Flags: withInfo | onStack | restart | hasRestorer, Restorer: restorer, Mask: ^inherited.Signals(0)}
	for n := syscall.Signal(1); n <= lastRealTime; n++ {
		if n == unix.SIGKILL || n == unix.SIGSTOP {
			continue
		}
		before, err := setAction(n, catch)
		if err != nil {
			return nil, err
		}
		runtimeHandlers[n] = before.Handler
	}
	s.order()
	return s, nil
}

// order has real-time signals come to this thread alone. Several threads would take them from the kernel's
// queue at once, and swap them. A thread that the runtime starts later has them open until it is
// called again, or until it gets one. Whatever was blocked when we started is open here too: what is sent
// to us meanwhile is the command's.
func (s *Signals) order() {
	_, _, _ = syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&ordered)), 0, 8, 0, 0) // not with cgo
	setMask(0)
}

// setMask blocks these signals on this thread, and no others. It returns which were blocked before.
func setMask(to inherited.Signals) (before inherited.Signals) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&to)), uintptr(unsafe.Pointer(&before)), unsafe.Sizeof(to), 0, 0)
	return before
}

// read takes what the handler writes, for as long as the process lives.
func (s *Signals) read(pipe int) {
	var batch [64]sent
	const size = int(unsafe.Sizeof(sent{}))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&batch)), len(batch)*size)
	for {
		n, err := unix.Read(pipe, b) // whole records: each was written at once
		if err != nil && !errors.Is(err, unix.EINTR) || n == 0 {
			return
		}
		for _, one := range batch[:max(n, 0)/size] {
			switch one.signal() {
			case 0:
				close(s.flushed)
			case unix.SIGCHLD:
				notify(s.children)
			default:
				s.add(one)
			}
		}
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Signals) add(some ...sent) {
	if len(some) == 0 {
		return
	}
	s.mu.Lock()
	s.queue = append(s.queue, some...)
	s.mu.Unlock()
	notify(s.arrived)
}

// take empties the queue.
func (s *Signals) take() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.queue
	s.queue = nil
	return all
}

// rest blocks some signals on every thread and returns what was sent until then: what is sent from now
// on waits in the kernel. It can be called once.
func (s *Signals) rest(block inherited.Signals) []sent {
	_, _, _ = syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&block)), 0, 8, 0, 0)
	setMask(block)
	var mark [unsafe.Sizeof(sent{})]byte
	if _, err := unix.Write(int(catchPipe), mark[:]); err == nil {
		<-s.flushed
	}
	return s.take()
}

// Interrupted is a signal that asked us to end before there was a command to pass it on to.
type Interrupted struct{ Signal syscall.Signal }

func (e Interrupted) Error() string { return "stopped by " + signalName(e.Signal) }

// ExitCode is 128 plus the signal's number.
func (e Interrupted) ExitCode() int { return exitSignal + int(e.Signal) }

// Exit is how we are to end then.
func (e Interrupted) Exit() Exit { return exitBy(e.Signal) }

// mild are the signals that end nobody.
var mild = []syscall.Signal{unix.SIGCONT, unix.SIGWINCH, unix.SIGURG, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}

// Until runs what comes before the command. A signal that would end a program that neither catches it nor
// was started with it ignored or blocked cancels the context and is returned as Interrupted; any other
// stays for the command.
func (s *Signals) Until(ctx context.Context, prepare func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- prepare(ctx) }()
	var later []sent
	defer func() { s.add(later...) }()
	kept := inherited.Ignored() | inherited.Blocked()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); errors.As(cause, new(Interrupted)) {
				return cause
			}
			return err
		case <-s.arrived:
			for _, one := range s.take() {
				if n := one.signal(); slices.Contains(mild, n) || kept.Has(n) {
					later = append(later, one)
				} else {
					cancel(Interrupted{n})
				}
			}
		}
	}
}

// sigaction is the kernel's struct sigaction.
type sigaction = inherited.Action

// setAction is rt_sigaction(2), unknown to the runtime. It returns what was set before.
func setAction(n syscall.Signal, action sigaction) (old sigaction, err error) {
	if old, err = inherited.SetAction(n, action); err != nil {
		return old, fmt.Errorf("set action of %s: %w", signalName(n), err)
	}
	return old, nil
}
