package inject

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/Miosa-osa/miosa-env/api"
)

// The formats that Encode writes.
const (
	FormatShell   = "shell"   // export NAME='value', for eval or sourcing by a POSIX shell
	FormatDotenv  = "dotenv"  // NAME=value, for readers of .env files
	FormatJSON    = "json"    // one object of strings
	FormatSystemd = "systemd" // NAME="value", for EnvironmentFile=
	FormatDocker  = "docker"  // NAME=value, for docker run --env-file
)

// Formats lists what Encode writes, each named after its reader.
var Formats = []string{FormatShell, FormatDotenv, FormatJSON, FormatSystemd, FormatDocker}

// spelling is how a format writes one variable.
type spelling struct {
	// spell appends the variable, on lines of its own, or gives the reason why it can't.
	spell func(dst []byte, name, value string) ([]byte, string)
	// room is the most bytes that spell appends beyond the lengths of name and value.
	room  func(value string) int
	bytes bool // any byte but NUL: else UTF-8 only
}

var spellings = map[string]spelling{
	FormatShell:   {spellShell, roomShell, true},
	FormatDotenv:  {spellDotenv, roomDotenv, false},
	FormatJSON:    {spellJSON, roomJSON, false},
	FormatSystemd: {spellSystemd, roomSystemd, false},
	FormatDocker:  {spellDocker, func(string) int { return len("=\n") }, false},
}

// CantCarry says that a format has no spelling for a value. Reason never repeats it.
type CantCarry struct {
	Name   string
	Format string
	Reason string // completes "the value ..." or "the name ..."
}

func (e *CantCarry) Error() string {
	return shown(e.Name) + " can't be written as " + e.Format + ": " + e.Reason
}

// Hint names the format that carries more.
func (e *CantCarry) Hint() string {
	switch e.Format {
	case FormatDotenv:
		return "use --format shell or --format json, or run the command with miosa-env run"
	case FormatJSON:
		return "use --format shell, or run the command with miosa-env run"
	case FormatDocker, FormatSystemd:
		return `use format "files", or run the command with miosa-env run`
	}
	return ""
}

// Encode writes what Append appends, at once, or nothing. No copy of it stays in memory.
//
// Errors: those of Append; that of w.
func Encode(w io.Writer, format string, pairs []api.Bound) error {
	text := make([]byte, 0, Room(format, pairs))
	defer func() { clear(text[:cap(text)]) }()
	out, err := Append(text, format, pairs)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// Room is the most bytes that Append appends. Given that much, Append moves nothing, and the caller
// can clear all that it wrote.
func Room(format string, pairs []api.Bound) int {
	room := spellings[format].room
	if room == nil {
		return 0
	}
	total := len("{}\n")
	for _, pair := range pairs {
		pair.Value.Use(func(b []byte) { total += len(pair.ExposeAsEnv) + len(b) + room(view(b)) })
	}
	return total
}

// Append appends pairs to dst in a format, sorted by name, each on lines of its own, and the last one
// ended.
//
//   - shell: any value without NUL, in single quotes: exact in dash, bash, busybox, ksh
//     and zsh.
//   - dotenv: see spellDotenv.
//   - json: UTF-8 only, since JSON is.
//   - systemd: see spellSystemd.
//   - docker: see spellDocker.
//
// Errors: *CantCarry, every one at once. What is returned then is dst, with values behind its end
// still to be cleared.
func Append(dst []byte, format string, pairs []api.Bound) ([]byte, error) {
	how, known := spellings[format]
	if !known {
		return dst, fmt.Errorf("format %s: want one of %s", shown(format), strings.Join(Formats, ", "))
	}
	sorted := slices.Clone(pairs)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].ExposeAsEnv < sorted[j].ExposeAsEnv })

	out := dst
	var problems []error
	for i, pair := range sorted {
		reason := ""
		pair.Value.Use(func(b []byte) {
			value := view(b)
			switch {
			case !validName(pair.ExposeAsEnv):
				reason = "it isn't a name: want letters, digits and _, no digit first"
			case i > 0 && sorted[i-1].ExposeAsEnv == pair.ExposeAsEnv:
				reason = "it is there twice"
			case strings.IndexByte(value, 0) >= 0:
				reason = "its value holds a NUL byte"
			case !how.bytes && !utf8.ValidString(value):
				reason = "its value isn't UTF-8"
			default:
				if format == FormatJSON {
					out = append(out, beforeJSON(len(out) == len(dst))...)
				}
				out, reason = how.spell(out, pair.ExposeAsEnv, value)
			}
		})
		if reason != "" {
			problems = append(problems, &CantCarry{Name: pair.ExposeAsEnv, Format: format, Reason: reason})
		}
	}
	if err := errors.Join(problems...); err != nil {
		return dst, err
	}
	if format == FormatJSON {
		out = append(out, closeJSON(len(pairs))...)
	}
	return out, nil
}

// view is a value's bytes as text, without a copy. It is good while they are lent.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// put appends texts without joining them first, which would leave a copy.
func put(dst []byte, texts ...string) []byte {
	for _, text := range texts {
		dst = append(dst, text...)
	}
	return dst
}

// spellShell writes an assignment that nothing is expanded in.
func spellShell(dst []byte, name, value string) ([]byte, string) {
	dst = put(dst, "export ", name, "='")
	for {
		before, after, found := strings.Cut(value, "'")
		dst = append(dst, before...)
		if !found {
			return append(dst, "'\n"...), ""
		}
		dst = append(dst, `'\''`...)
		value = after
	}
}

func roomShell(value string) int { return len("export =''\n") + len(`'\'`)*strings.Count(value, "'") }
