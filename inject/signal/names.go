// Package signal catches the signals sent to this process, keeping their order, values and senders, and reads their names.
package signal

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Parse reads a signal as kill(1) does: TERM, SIGTERM, 15, RTMIN, RTMIN+3 or RTMAX-1.
func Parse(s string) (syscall.Signal, error) {
	name := normalize(s)
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= Last {
		return syscall.Signal(n), nil
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	for base, from := range map[string]int{"RTMIN": firstRealTime, "RTMAX": Last} {
		if offset, ok := strings.CutPrefix(name, base); ok {
			n, err := 0, error(nil)
			if offset != "" {
				n, err = strconv.Atoi(offset)
			}
			if err == nil && from+n >= firstRealTime && from+n <= Last {
				return syscall.Signal(from + n), nil
			}
		}
	}
	return 0, fmt.Errorf("want a name such as TERM, HUP or RTMIN+1, or a number from 1 to %d%s", Last, nearest.OrMeant(Nearest(s)))
}

// Nearest returns the name that an unknown name probably meant, or "".
func Nearest(name string) string { return nearest.Word(normalize(name), Names()) }

func normalize(name string) string {
	return strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "SIG")
}

// Names returns the names that Parse reads, without offsets.
func Names() []string {
	names := []string{"RTMIN", "RTMAX"}
	for n := syscall.Signal(1); n < firstRealTime; n++ {
		if s := unix.SignalName(n); s != "" {
			names = append(names, strings.TrimPrefix(s, "SIG"))
		}
	}
	return names
}

// Name returns the name of a signal, such as SIGTERM or SIGRTMIN+1.
func Name(n syscall.Signal) string {
	if name := unix.SignalName(n); name != "" {
		return name
	}
	if n >= firstRealTime && n <= Last {
		return fmt.Sprintf("SIGRTMIN+%d", int(n)-firstRealTime)
	}
	return fmt.Sprintf("signal %d", int(n))
}
