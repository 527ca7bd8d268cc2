package inject

import (
	"bufio"
	"strconv"
	"strings"
)

// maxDockerLine is the longest line in bytes, its end left out, that docker's reader takes: it gives
// up on the whole file for a longer one.
const maxDockerLine = bufio.MaxScanTokenSize - 1

// spellDocker writes NAME=value for docker's --env-file, which takes a value as it stands up to the
// line's end: no quotes, no escapes, no expansion. So there is no way to write a line break, and a
// carriage return at the end would be taken for a part of one.
// Source: github.com/docker/cli, pkg/kvfile.
func spellDocker(dst []byte, name, value string) ([]byte, string) {
	switch {
	case strings.ContainsRune(value, '\n'):
		return dst, "its value has several lines"
	case strings.HasSuffix(value, "\r"):
		return dst, "its value ends in a carriage return, which docker drops"
	case len(name)+len("=")+len(value) > maxDockerLine:
		return dst, "with its name it is longer than the " + strconv.Itoa(maxDockerLine) + " bytes that docker reads of a line"
	}
	return put(dst, name, "=", value, "\n"), ""
}
