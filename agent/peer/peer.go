// Package peer identifies the process at the other end of a Unix socket, by the kernel's account.
package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// Peer is the process that connected to a server or, for a client, the one that listens.
type Peer struct {
	UID, GID uint32
	PID      int32 // 0 if the process is in a pid namespace that this one can't see into
}

// Of returns the peer of a connection.
func Of(c *net.UnixConn) (Peer, error) { return control(c, OfFD) }

// Trusted reports whether p runs as root or as the user of this process, unless that user is the one that stands for all
// unknown users.
func (p Peer) Trusted() bool {
	return p.UID == 0 || p.UID == uint32(os.Geteuid()) && p.UID != overflowUID()
}

// control returns the result of do, which it calls with the file descriptor of c.
func control[T any](c *net.UnixConn, do func(fd int) (T, error)) (got T, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return got, err
	}
	controlErr := raw.Control(func(fd uintptr) { got, err = do(int(fd)) })
	return got, errors.Join(controlErr, err)
}

// List is the users and groups that may connect, besides those that are trusted.
type List struct{ UIDs, GIDs []uint32 }

// Contains reports whether the user of p, its group, or one of its supplementary groups is in the list. The kernel is
// asked for the supplementary groups only if they matter. Ids that stand for all unknown users and groups are in no list. c is the
// connection to p.
func (l List) Contains(p Peer, c *net.UnixConn) bool {
	if slices.Contains(l.UIDs, p.UID) && p.UID != overflowUID() {
		return true
	}
	if len(l.GIDs) == 0 {
		return false
	}
	allowed := func(g uint32) bool { return slices.Contains(l.GIDs, g) && g != overflowGID() }
	if allowed(p.GID) {
		return true
	}
	supplementary, err := control(c, groups)
	return err == nil && slices.ContainsFunc(supplementary, allowed)
}

// Users returns the ids of users, each given by name or number. Its error names all that are unknown, or can't be identified.
func Users(names []string) ([]uint32, error) {
	return lookUp("user", names, overflowUID, user.Lookup, func(u *user.User) string { return u.Uid })
}

// Groups is Users for groups.
func Groups(names []string) ([]uint32, error) {
	return lookUp("group", names, overflowGID, user.LookupGroup, func(g *user.Group) string { return g.Gid })
}

func lookUp[T any](kind string, names []string, overflow func() uint32, find func(name string) (*T, error), idOf func(*T) string) (ids []uint32, problems error) {
	for _, name := range names {
		id, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			var found *T
			if found, err = find(name); err == nil {
				id, err = strconv.ParseUint(idOf(found), 10, 32)
			}
		}
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("%s %q isn't known on this machine", kind, name))
		} else {
			problems = errors.Join(problems, refuse(kind, name, uint32(id), overflow()))
		}
		ids = append(ids, uint32(id))
	}
	return ids, problems
}
