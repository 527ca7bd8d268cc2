package inject

import (
	"strconv"
	"strings"
)

// spellSystemd writes NAME="value" for systemd's EnvironmentFile=, in double quotes with the four
// characters escaped that systemd unescapes in them, so line breaks stand as they are and nothing is
// expanded.
//
// systemd drops a value with one of Unicode's 66 noncharacters, and a service whose variable is longer
// than execve takes fails to start: neither is written.
// Source: systemd.exec(5), src/basic/env-file.c and utf8.c.
func spellSystemd(dst []byte, name, value string) ([]byte, string) {
	if longest := maxVariable(); len(name)+len("=")+len(value) > longest {
		return dst, "with its name it is longer than the " + strconv.Itoa(longest) + " bytes that a service can be given"
	}
	if strings.ContainsFunc(value, noncharacter) {
		return dst, "its value holds a Unicode noncharacter, for which systemd drops it"
	}
	dst = put(dst, name, `="`)
	for {
		at := strings.IndexAny(value, systemdEscaped)
		if at < 0 {
			return put(dst, value, "\"\n"), ""
		}
		dst = put(dst, value[:at], `\`, value[at:at+1])
		value = value[at+1:]
	}
}

const systemdEscaped = "\"\\`$"

func roomSystemd(value string) int {
	room := len("=\"\"\n")
	for i := range len(value) {
		if strings.IndexByte(systemdEscaped, value[i]) >= 0 {
			room++
		}
	}
	return room
}

// noncharacter tells whether r is one of the code points that Unicode will never assign.
func noncharacter(r rune) bool { return 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe }
