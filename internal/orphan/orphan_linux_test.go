package orphan_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/orphan"
	"github.com/Miosa-osa/miosa-env/internal/task"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// TestOrphans checks that an orphan is reaped that ended while a started process was running, although nothing ends after that one.
func TestOrphans(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	r := orphan.New()
	defer task.Start(context.Background(), r.Run).Close()

	running := exec.Command("cat")
	end, err := running.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(running); err != nil {
		t.Fatal(err)
	}
	leaving := exec.Command("sh", "-c", "sleep 600 >/dev/null & echo $!")
	var out bytes.Buffer
	leaving.Stdout = &out
	if err := errors.Join(r.Start(leaving), r.Wait(leaving)); err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(string(bytes.TrimSpace(out.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(left, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 20*time.Second, "the orphan has ended, and isn't reaped yet", func() bool { return state(left) == "Z" })
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, 20*time.Second, "the started process has ended", func() bool { return state(running.Process.Pid) == "Z" })
	if err := r.Wait(running); err != nil {
		t.Errorf("the started process: %v", err)
	}
	poll.Until(t, 20*time.Second, "the orphan is reaped", func() bool { return state(left) == "" })
}

// state returns the state of a process, as in /proc, "" if there is none.
func state(pid int) string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return string(fields[0])
}
