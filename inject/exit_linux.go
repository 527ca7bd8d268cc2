package inject

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// Exit is how a command ended.
type Exit struct {
	Code   int            // its own, or 128 and the number of the signal it died of
	Signal syscall.Signal // the signal it died of; 0: it exited

	group bool // a key sent the signal, to the command's process group alone
}

func exitBy(sig syscall.Signal) Exit { return Exit{Code: exitSignal + int(sig), Signal: sig} }

// Die ends this process by the signal that the command died of, if that is INT or QUIT: a shell ends its script or
// loop only if what it waits for dies of these, rather than exiting with 130. It returns in all other
// cases, and as process 1, which no signal of its own ends.
//
// Where a key of the terminal sent the signal to the command's process group, because that had the foreground, our own
// group gets it now: the script that has started us is in it.
func (e Exit) Die() {
	if e.Signal != unix.SIGINT && e.Signal != unix.SIGQUIT || os.Getpid() == 1 {
		return
	}
	to := os.Getpid()
	if e.group {
		to = 0
	}
	inherited.EndBy(e.Signal, to)
}
