package harden

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startBlocks returns the memory in which the kernel stored the arguments and the environment.
// Source: proc_pid_stat(5), fields 48 to 51.
func startBlocks() ([][]byte, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil, fmt.Errorf("find own arguments: %w", err)
	}
	// The second field, the program's name, may contain anything, but only it ends in ")".
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 49 {
		return nil, fmt.Errorf("find own arguments: /proc/self/stat has %d fields", len(fields)+2)
	}
	var blocks [][]byte
	for _, at := range []int{48, 50} {
		start, err1 := strconv.ParseUint(fields[at-3], 10, 64)
		end, err2 := strconv.ParseUint(fields[at-2], 10, 64)
		if err1 != nil || err2 != nil || start == 0 || end < start {
			return nil, errors.New("find own arguments: /proc/self/stat hides them")
		}
		address := uintptr(start)
		// The kernel allocated this memory, not Go: it is neither moved nor collected.
		blocks = append(blocks, unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), end-start))
	}
	return blocks, nil
}

// ForbidDumps makes this process undumpable until it executes another program: other processes of its user can read neither its memory
// nor its environment, and it leaves no core file.
func ForbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}

// ForbidCores sets the limit of core files to 0. Programs that this process starts may raise it again.
func ForbidCores() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("read the limit of core files: %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("allow no core files: %w", err)
	}
	return nil
}
