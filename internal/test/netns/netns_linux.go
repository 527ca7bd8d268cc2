// Package netns gives tests networks of their own: network namespaces of Linux.
package netns

import (
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// Network is a network namespace with one thread.
type Network struct {
	work   chan func()
	thread int
}

// New returns a network, which ends with the test. The test is skipped if the system doesn't permit it.
func New(t testing.TB) *Network {
	t.Helper()
	n := &Network{work: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.thread = unix.Gettid()
		entered <- err
		for f := range n.work {
			f()
		}
	}()
	t.Cleanup(func() { close(n.work) })
	needs.Granted(t, <-entered, "a network namespace")
	return n
}

// Do calls f in the network. Sockets and processes that f creates stay there.
func (n *Network) Do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// Run runs a command in the network, and skips the test if it fails.
func (n *Network) Run(t testing.TB, words ...string) {
	t.Helper()
	var out []byte
	var err error
	n.Do(func() { out, err = exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput() })
	if err != nil {
		needs.System(t, "networks of its own: %v: %s", err, out)
	}
}

// Name is what the ip command calls the network, in the form of a process id.
func (n *Network) Name() string { return strconv.Itoa(n.thread) }
