package envfile

import (
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// spellSystemd writes NAME="value" for systemd's EnvironmentFile=. In double quotes systemd expands nothing and unescapes
// four characters; line breaks need no escape.
//
// Two kinds of values aren't written: systemd drops those with one of Unicode's 66 noncharacters, and doesn't start a
// service with a variable longer than execve accepts.
// Source: systemd.exec(5), src/basic/env-file.c and utf8.c.
func spellSystemd(t *text, name, value string) string {
	if longest := environ.MaxEntry(); len(name)+len("=")+len(value) > longest {
		return "with its name it is longer than the " + strconv.Itoa(longest) + " bytes that a service can be given"
	}
	if strings.ContainsFunc(value, noncharacter) {
		return "its value holds a Unicode noncharacter, for which systemd drops it"
	}
	t.add(name, `="`)
	for {
		at := strings.IndexAny(value, "\"\\`$")
		if at < 0 {
			t.add(value, "\"\n")
			return ""
		}
		t.add(value[:at], `\`, value[at:at+1])
		value = value[at+1:]
	}
}

// noncharacter reports whether r is a code point that Unicode will never assign.
func noncharacter(r rune) bool { return 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe }
