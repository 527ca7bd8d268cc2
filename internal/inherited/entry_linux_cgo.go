//go:build cgo

package inherited

// #include <stdint.h>
// extern uint64_t miosa_ignored, miosa_blocked, miosa_ordered, miosa_closed, miosa_files[2];
import "C"

func init() {
	noted, ignored, blocked, ordered, closed = 1, uint64(C.miosa_ignored), uint64(C.miosa_blocked), uint64(C.miosa_ordered), uint64(C.miosa_closed)
	files = [2]uint64{uint64(C.miosa_files[0]), uint64(C.miosa_files[1])}
}
