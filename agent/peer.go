package agent

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
)

// Peers are who may ask besides root and the agent's own user.
type Peers struct {
	UIDs []uint32
	GIDs []uint32 // a user's own group or one of the others it is in
}

// LookupPeers finds users and groups, each by its name or number. Its error names everyone who isn't
// known.
func LookupPeers(users, groups []string) (Peers, error) {
	var p Peers
	var errs []error
	for _, name := range users {
		id, err := number(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("user %q isn't known on this machine", name))
		}
		p.UIDs = append(p.UIDs, id)
	}
	for _, name := range groups {
		id, err := number(name, func() (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("group %q isn't known on this machine", name))
		}
		p.GIDs = append(p.GIDs, id)
	}
	if err := errors.Join(errs...); err != nil {
		return Peers{}, err
	}
	return p, nil
}

// number reads an id, or what lookup gives for it.
func number(name string, lookup func() (string, error)) (uint32, error) {
	id, err := strconv.ParseUint(name, 10, 32)
	if err == nil {
		return uint32(id), nil
	}
	text, err := lookup()
	if err != nil {
		return 0, err
	}
	id, err = strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}

// peer is who is at the other end of a connection, by the kernel's word: whoever connected, or for a
// client whoever listens.
type peer struct {
	uid, gid uint32
	pid      int32 // 0 where it lives in a pid namespace that we don't see into
}

// trusted tells whether a peer is root or this process's own user.
func (p peer) trusted(own uint32) bool { return p.uid == 0 || p.uid == own }

// allowed tells whether a peer may ask. Its groups are only looked up where they matter.
func (p Peers) allowed(k peer, groups func() ([]uint32, error)) bool {
	if slices.Contains(p.UIDs, k.uid) || slices.Contains(p.GIDs, k.gid) {
		return true
	}
	if len(p.GIDs) == 0 {
		return false
	}
	others, err := groups()
	return err == nil && slices.ContainsFunc(others, func(g uint32) bool { return slices.Contains(p.GIDs, g) })
}
