package peer

import (
	"net"
	"strings"
)

// Unit returns the name of the systemd unit that p runs in, or "" if it runs in none. c is the connection to p.
func Unit(p Peer, c *net.UnixConn) (string, error) {
	return control(c, func(fd int) (string, error) { return unitOfProcess(fd, int(p.PID)) })
}

// unitOf returns the unit that the text of /proc/PID/cgroup names, or "". It is the first below the slices: cgroups
// further down are made by the processes of the unit.
func unitOf(cgroups string) string {
	path := ""
	for line := range strings.Lines(cgroups) {
		line = strings.TrimSuffix(line, "\n")
		if group, ok := strings.CutPrefix(line, "0::"); ok && group != "/" {
			path = group
			break
		}
		if _, group, ok := strings.Cut(line, ":name=systemd:"); ok {
			path = group
		}
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if !strings.HasSuffix(part, ".slice") {
			return strings.TrimPrefix(part, "_") // systemd escapes names that could be files of the kernel
		}
	}
	return ""
}
