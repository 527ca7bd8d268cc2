// Package envfile writes bindings as text that other programs read: shells, readers of .env files, systemd, docker.
package envfile

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
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// Formats, each named after its reader.
const (
	Shell   = "shell"   // export NAME='value', for eval or sourcing in a POSIX shell
	dotenv  = "dotenv"  // NAME=value, for readers of .env files
	json    = "json"    // one object of strings
	systemd = "systemd" // NAME="value", for EnvironmentFile=
	docker  = "docker"  // NAME=value, for docker run --env-file
)

// Formats lists the formats.
var Formats = []string{Shell, dotenv, json, systemd, docker}

// format is how one format writes a variable.
type format struct {
	name string
	// spell adds the variable, on lines of its own, or returns the reason why the format can't represent it.
	spell    func(t *text, name, value string) string
	anyBytes bool   // any byte but NUL is allowed, otherwise UTF-8 only
	hint     string // names a way to deliver what the format can't represent
}

var formats = [...]format{
	{Shell, spellShell, true, ""},
	{dotenv, spellDotenv, false, "use --format shell or --format json, or run the command with miosa-env run"},
	{json, spellJSON, false, "use --format shell, or run the command with miosa-env run"},
	{systemd, spellSystemd, false, `use format "files", or run the command with miosa-env run`},
	{docker, spellDocker, false, `use format "files", or run the command with miosa-env run`},
}

// text is text that is written, or only measured.
type text struct {
	b       []byte
	size    int
	measure bool
}

// add adds parts without joining them first, which would leave a copy in memory.
func (t *text) add(parts ...string) {
	for _, part := range parts {
		t.size += len(part)
		if !t.measure {
			t.b = append(t.b, part...)
		}
	}
}

// CantCarry is the error if a format can't represent a variable.
type CantCarry struct {
	Name   string
	Format string
	Reason string // completes "the value ..." or "the name ...", without the value
	hint   string
}

func (e *CantCarry) Error() string {
	return environ.Quote(e.Name) + " can't be written as " + e.Format + ": " + e.Reason
}

// Hint names a format that can represent more.
func (e *CantCarry) Hint() string { return e.hint }

// Encode writes bindings in a format, sorted by name, with a single write.
//
// Errors: *CantCarry, one for each such variable; that of w.
func Encode(w io.Writer, format string, bound []api.Bound) error {
	return Use(format, bound, func(text []byte) error {
		_, err := w.Write(text)
		return err
	})
}

// Use calls use with bindings in a format, sorted by name. The text is cleared from memory when use returns.
//
// Errors: *CantCarry, one for each such variable; that of use.
func Use(formatName string, bound []api.Bound, use func(text []byte) error) error {
	at := slices.Index(Formats, formatName)
	if at < 0 {
		return fmt.Errorf("format %s: want one of %s", environ.Quote(formatName), strings.Join(Formats, ", "))
	}
	sorted := slices.Clone(bound)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].ExposeAsEnv < sorted[j].ExposeAsEnv })

	t := &text{measure: true}
	if err := formats[at].spellAll(t, sorted); err != nil {
		return err
	}
	t = &text{b: make([]byte, 0, t.size)} // never grown, which would leave a copy
	defer func() { clear(t.b) }()
	if err := formats[at].spellAll(t, sorted); err != nil {
		return err
	}
	return use(t.b)
}

func (f *format) spellAll(t *text, sorted []api.Bound) error {
	var problems []error
	for i, b := range sorted {
		name, reason := b.ExposeAsEnv, ""
		api.Quietly(func() {
			b.Value.Use(func(bytes []byte) {
				value := unsafe.String(unsafe.SliceData(bytes), len(bytes)) // no copy
				switch {
				case !environ.ValidName(name):
					reason = "it isn't a name: want letters, digits and _, no digit first"
				case i > 0 && sorted[i-1].ExposeAsEnv == name:
					reason = "it is there twice"
				case strings.IndexByte(value, 0) >= 0:
					reason = "its value holds a NUL byte"
				case !f.anyBytes && !utf8.ValidString(value):
					reason = "its value isn't UTF-8"
				default:
					reason = f.spell(t, name, value)
				}
			})
		})
		if reason != "" {
			problems = append(problems, &CantCarry{name, f.name, reason, f.hint})
		}
	}
	if f.name == json {
		endJSON(t)
	}
	return errors.Join(problems...)
}
