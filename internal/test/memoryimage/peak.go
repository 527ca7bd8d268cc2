package memoryimage

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// ResetPeak sets the peak memory of this process to its current memory. It needs Linux.
func ResetPeak(b testing.TB) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// Peak is the most memory that this process has had since ResetPeak, in MiB.
func Peak(b testing.TB) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	kib, err := strconv.ParseFloat(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(text))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
