package command

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// Exit is how a command ended.
type Exit struct {
	Code   int            // its exit code, or 128 plus the number of the signal that ended it
	Signal syscall.Signal // the signal that ended it, or 0
	Group  bool           // a key of the terminal sent the signal to the command's process group only
}

// ExitBy returns the exit of a command that a signal ended.
func ExitBy(sig syscall.Signal) Exit { return Exit{Code: 128 + int(sig), Signal: sig} }

// Die ends this process by the signal that ended the command if that is INT or QUIT: a shell ends its script or loop only
// if a process dies of these, not if it exits with 130. Otherwise it returns, and also as process 1, which its own signals
// don't end.
//
// With Group, this process's group gets the signal, because the key would have sent it to the script that started
// miosa-env too.
func (e Exit) Die() {
	if e.Signal != unix.SIGINT && e.Signal != unix.SIGQUIT || os.Getpid() == 1 {
		return
	}
	to := os.Getpid()
	if e.Group {
		to = 0
	}
	inherited.EndBy(e.Signal, to)
}
