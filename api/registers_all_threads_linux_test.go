package api_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Go runs a system call on all threads with the help of a signal, after it has stopped all goroutines, also one in Quietly.
func TestQuietlyDuringSyscallOfAllThreads(t *testing.T) {
	if _, _, err := syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0); errors.Is(err, syscall.ENOTSUP) { // with cgo
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=1m", "-run=^"+t.Name()+"$", ".")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		text := make([]byte, 4<<10)
		for range 2000 {
			api.Quietly(func() {
				for range 8 {
					sum := sha256.Sum256(text)
					copy(text, sum[:])
				}
			})
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			_, _, _ = syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0)
		}
	}
}
