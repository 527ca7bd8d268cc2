package peer

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// The overflow ids stand for all users and groups that a user namespace doesn't know, so they identify nobody: the kernel reports
// them for any process outside of it. They are also those of the user nobody, whose processes have nothing in common.
// Source: user_namespaces(7).
var (
	overflowUID = sync.OnceValue(func() uint32 { return overflow("uid") })
	overflowGID = sync.OnceValue(func() uint32 { return overflow("gid") })
)

// overflow reads an id that can be configured. 65534 is the kernel's default.
func overflow(kind string) uint32 {
	text, err := os.ReadFile("/proc/sys/kernel/overflow" + kind)
	if err != nil {
		return 65534
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 65534
	}
	return uint32(id)
}

// Unidentified reports whether processes of this user can't be told from those of unknown users, so that no server trusts them.
func Unidentified(uid int) bool { return uid != 0 && uint32(uid) == overflowUID() }

// refuse returns an error if an id identifies nobody.
func refuse(kind, name string, id, overflow uint32) error {
	if id != overflow {
		return nil
	}
	return fmt.Errorf("%s %q can't be allowed: %d stands for every %s that this machine doesn't know", kind, name, id, kind)
}
