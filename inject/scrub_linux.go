package inject

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
)

// Scrub overwrites every copy of key, and of what the environment's variables for keys hold, in this process's
// own arguments and environment, as /proc/PID/cmdline and /proc/PID/environ show them and as Go holds them,
// and makes the process undumpable, so that another process of the same user reads neither these files nor
// its memory.
//
// Strings of os.Args and os.Environ that hold the key are changed in place: clone what is still
// needed before. An execve makes the process dumpable again.
func Scrub(key api.Key) error {
	secrets := keysAround(key)
	defer forget(secrets)
	if len(secrets) == 0 {
		return nil
	}
	blocks, err := startBlocks()
	for _, entry := range os.Environ() {
		blocks = append(blocks, unsafe.Slice(unsafe.StringData(entry), len(entry)))
	}
	for _, block := range blocks {
		wipe(block, secrets)
	}
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make process undumpable: %w", err)
	}
	return nil
}

// startBlocks returns the memory in which the kernel laid down argv and the environment.
// Source: proc_pid_stat(5), fields 48 to 51.
func startBlocks() ([][]byte, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil, fmt.Errorf("find own arguments: %w", err)
	}
	// The second field is the program's name and may hold anything, but only it ends in ")".
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 49 {
		return nil, fmt.Errorf("find own arguments: /proc/self/stat has %d fields", len(fields)+2)
	}
	var blocks [][]byte
	for _, at := range []int{48, 50} {
		start, err1 := strconv.ParseUint(fields[at-3], 10, 64)
		end, err2 := strconv.ParseUint(fields[at-2], 10, 64)
		if err1 != nil || err2 != nil || start == 0 || end < start {
			return nil, fmt.Errorf("find own arguments: /proc/self/stat hides them")
		}
		address := uintptr(start)
		// Memory the kernel gave the process, not Go's heap: it neither moves nor is collected.
		blocks = append(blocks, unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), end-start))
	}
	return blocks, nil
}
