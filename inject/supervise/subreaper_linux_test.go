package supervise_test

import (
	"errors"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// refuseSubreaper makes PR_SET_CHILD_SUBREAPER fail on this thread and in its children, as on an emulator that lacks
// it.
func refuseSubreaper() error {
	const nr, arg0 = 0, 16 // in struct seccomp_data: the call's number, and its first argument's lower half
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PRCTL, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arg0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PR_SET_CHILD_SUBREAPER, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); !errors.Is(err, unix.EINVAL) {
		return errors.New("the filter doesn't refuse a subreaper")
	}
	return nil
}

// TestNoSubreaper checks that without a subreaper the command still runs and is stopped with its process group.
func TestNoSubreaper(t *testing.T) {
	for _, test := range []struct {
		script string
		code   int
	}{
		{"exit 7", 7},
		{"kill -9 $$", 137},
	} {
		if code := status(t, under(t, "supervise", false, "-no-subreaper", "sh", "-c", test.script)); code != test.code {
			t.Errorf("%s: exit code %d, want %d", test.script, code, test.code)
		}
	}
	c := under(t, "supervise", false, "-no-subreaper", "sh", "-c", `trap 'exit 33' TERM; sh -c 'sleep 60 & echo $!'; while :; do sleep 0.02; done`)
	orphan := startTelling(t, c)
	kill(t, c.Process.Pid, unix.SIGTERM)
	_ = c.Wait()
	if code := codeOf(c); code != 33 {
		t.Errorf("exit code %d, want 33", code)
	}
	poll.Until(t, 10*time.Second, "the orphan's end", func() bool { return !alive(orphan) })
}
