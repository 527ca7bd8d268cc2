package inject

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal as kill(1) does: TERM, SIGTERM, 15, RTMIN, RTMIN+3 or RTMAX-1.
func ParseSignal(s string) (syscall.Signal, error) {
	name := strings.ToUpper(strings.TrimSpace(s))
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= lastRealTime {
		return syscall.Signal(n), nil
	}
	name = strings.TrimPrefix(name, "SIG")
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	for base, from := range map[string]int{"RTMIN": firstRealTime, "RTMAX": lastRealTime} {
		if offset, ok := strings.CutPrefix(name, base); ok {
			n, err := 0, error(nil)
			if offset != "" {
				n, err = strconv.Atoi(offset)
			}
			if err == nil && from+n >= firstRealTime && from+n <= lastRealTime {
				return syscall.Signal(from + n), nil
			}
		}
	}
	return 0, fmt.Errorf("signal %q: want a name such as TERM, HUP or RTMIN+1, or a number from 1 to %d", s, lastRealTime)
}

// NearestSignal is the name of the signal that was probably meant by an unknown one, as ParseSignal reads it; "" where
// no name is near.
func NearestSignal(name string) string {
	name = strings.ToUpper(strings.TrimSpace(name))
	return nearest.Word(strings.TrimPrefix(name, "SIG"), SignalNames())
}

// SignalNames lists the names that ParseSignal reads, without offsets.
func SignalNames() []string {
	names := []string{"RTMIN", "RTMAX"}
	for n := syscall.Signal(1); n < firstRealTime; n++ {
		if s := unix.SignalName(n); s != "" {
			names = append(names, strings.TrimPrefix(s, "SIG"))
		}
	}
	return names
}

// signalName is SIGTERM for 15, and SIGRTMIN+1 for 35.
func signalName(n syscall.Signal) string {
	if name := unix.SignalName(n); name != "" {
		return name
	}
	if n >= firstRealTime && n <= lastRealTime {
		return fmt.Sprintf("SIGRTMIN+%d", int(n)-firstRealTime)
	}
	return fmt.Sprintf("signal %d", int(n))
}
