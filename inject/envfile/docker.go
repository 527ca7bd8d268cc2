package envfile

import (
	"bufio"
	"strconv"
	"strings"
)

// maxDockerLine is the maximum length of a line in bytes, without its end. Docker rejects a file with a longer line.
const maxDockerLine = bufio.MaxScanTokenSize - 1

// spellDocker writes NAME=value for docker's --env-file. Docker takes values literally up to the end of the line, without
// quotes, escapes or expansion, so line breaks and a final carriage return can't be written.
// Source: github.com/docker/cli, pkg/kvfile.
func spellDocker(t *text, name, value string) string {
	switch {
	case strings.ContainsRune(value, '\n'):
		return "its value has several lines"
	case strings.HasSuffix(value, "\r"):
		return "its value ends in a carriage return, which docker drops"
	case len(name)+len("=")+len(value) > maxDockerLine:
		return "with its name it is longer than the " + strconv.Itoa(maxDockerLine) + " bytes that docker reads of a line"
	}
	t.add(name, "=", value, "\n")
	return ""
}
