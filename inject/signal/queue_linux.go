package signal

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

// Last is the last signal, SIGRTMAX.
const Last = 64

// firstRealTime is SIGRTMIN as C libraries number it.
const firstRealTime = 34

// Queue holds the signals sent to this process since Catch, so that none is lost or takes effect before the command
// starts.
//
// It has its own handler (catch_linux_*.s) because os/signal merges real-time signals of the same number, doesn't deliver
// some signals, and doesn't report the sender.
type Queue struct {
	Arrived  chan struct{} // signals can be taken
	Children chan struct{} // children have ended or stopped; several such events may be merged
	flushed  chan struct{} // see Rest

	mu    sync.Mutex // guards queue
	queue []Sent     // in the order they were sent; unbounded, since the handler can't wait
}

// The variables that the handler reads. They are set before it is installed.
var (
	catchPipe int32 // the pipe to write signals to
	ownPID    int32 //nolint:unused // process whose own SIGPIPE is dropped; read by assembly
	ownThread int32 //nolint:unused // the thread that receives real-time signals; read by assembly
	// ordered are the real-time signals.
	ordered = inherited.Signals(math.MaxUint64 >> (firstRealTime - 1) << (firstRealTime - 1))
	// faults are the signals by which the kernel reports a program error.
	faults = inherited.Set(unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS) //nolint:unused // read by assembly
	// runtimeHandlers, by signal, handle this process's own faults and what the runtime sends to its threads.
	runtimeHandlers [Last + 1]uintptr
)

// catchHandler returns the addresses of the handler and of the code that the kernel runs after it.
func catchHandler() (handler, restorer uintptr)

// Catch catches all signals that can be caught. Call it once per process, on the goroutine that then runs or replaces the
// command: it locks the goroutine to its thread.
func Catch() (*Queue, error) {
	runtime.LockOSThread()
	q := &Queue{Arrived: make(chan struct{}, 1), Children: make(chan struct{}, 1), flushed: make(chan struct{})}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe for signals: %w", err)
	}
	// The handler may drop a signal but never block. The pipe holds 32,000 signals that haven't been read yet, if the
	// user's limit of memory in pipes allows.
	if err := unix.SetNonblock(p[1], true); err != nil {
		return nil, fmt.Errorf("pipe for signals: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20)
	catchPipe, ownPID, ownThread = int32(p[1]), int32(os.Getpid()), int32(unix.Gettid())
	go q.read(p[0])
	// This process's own writes to a closed pipe are errors, not signals. Unless PIPE is ignored, the runtime would end
	// the process.
	signal.Ignore(unix.SIGPIPE)
	const withInfo, onStack, restart, hasRestorer = 0x4, 0x08000000, 0x10000000, 0x04000000
	handler, restorer := catchHandler()
	catch := inherited.Action{Handler: handler, Flags: withInfo | onStack | restart | hasRestorer, Restorer: restorer, Mask: ^inherited.Signals(0)}
	for n := syscall.Signal(1); n <= Last; n++ {
		if n == unix.SIGKILL || n == unix.SIGSTOP {
			continue
		}
		before, err := inherited.SetAction(n, catch)
		if err != nil {
			return nil, fmt.Errorf("set action of %s: %w", Name(n), err)
		}
		runtimeHandlers[n] = before.Handler
	}
	q.Order()
	return q, nil
}

// Order makes the calling thread the only one to receive real-time signals, since several threads would reorder them, and unblocks
// signals that were blocked when the process started, since they are for the command. Unless inherited.Ordered, this interrupts all
// threads, and one that the runtime starts later can receive real-time signals until the next call, or until it receives one. That is
// always so for the signal 34.
func (q *Queue) Order() {
	if !inherited.Ordered() {
		blockOnAllThreads(ordered)
	}
	inherited.SetMask(0)
}

// blockOnAllThreads doesn't work with cgo.
func blockOnAllThreads(signals inherited.Signals) {
	_, _, _ = syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&signals)), 0, 8, 0, 0)
}

// read reads what the handler writes, until the process ends.
func (q *Queue) read(pipe int) {
	var batch [64]Sent
	const size = int(unsafe.Sizeof(Sent{}))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&batch)), len(batch)*size)
	for {
		n, err := unix.Read(pipe, b) // only whole records, since each was written at once
		if err != nil && !errors.Is(err, unix.EINTR) || n == 0 {
			return
		}
		for _, one := range batch[:max(n, 0)/size] {
			switch one.Signal() {
			case 0:
				close(q.flushed)
			case unix.SIGCHLD:
				notify(q.Children)
			default:
				q.add(one)
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

func (q *Queue) add(some ...Sent) {
	if len(some) == 0 {
		return
	}
	q.mu.Lock()
	q.queue = append(q.queue, some...)
	q.mu.Unlock()
	notify(q.Arrived)
}

// Take empties the queue and returns its signals in the order they were sent.
func (q *Queue) Take() []Sent {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.queue
	q.queue = nil
	return all
}

// Rest blocks signals on all threads, so that they stay pending in the kernel from now on, and returns those sent before.
// It can be called once.
func (q *Queue) Rest(block inherited.Signals) []Sent {
	blockOnAllThreads(block)
	inherited.SetMask(block)
	var mark [unsafe.Sizeof(Sent{})]byte
	if _, err := unix.Write(int(catchPipe), mark[:]); err == nil {
		<-q.flushed
	}
	return q.Take()
}

// Interrupted is the error if a signal asked this process to end before the command was started.
type Interrupted struct{ Signal syscall.Signal }

func (e Interrupted) Error() string { return "stopped by " + Name(e.Signal) }

// ExitCode returns 128 plus the signal's number, as shells do.
func (e Interrupted) ExitCode() int { return 128 + int(e.Signal) }

// harmless are the signals that don't end a process by default.
var harmless = []syscall.Signal{unix.SIGCONT, unix.SIGWINCH, unix.SIGURG, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}

// Until runs prepare, before the command starts. A signal that would end a program that doesn't catch it, and that
// wasn't ignored or blocked when this process started, cancels the context and is returned as Interrupted. Other signals
// are kept for the command.
func (q *Queue) Until(ctx context.Context, prepare func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- prepare(ctx) }()
	var later []Sent
	defer func() { q.add(later...) }()
	kept := inherited.Ignored() | inherited.Blocked()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); errors.As(cause, new(Interrupted)) {
				return cause
			}
			return err
		case <-q.Arrived:
			for _, one := range q.Take() {
				if n := one.Signal(); slices.Contains(harmless, n) || kept.Has(n) {
					later = append(later, one)
				} else {
					cancel(Interrupted{n})
				}
			}
		}
	}
}

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
