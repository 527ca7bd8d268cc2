package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// reader takes a configuration file apart. It goes on after a problem, so that a person sees
// all of them at once; only broken TOML ends it. It works on the parser below go-toml's decoder, which
// stops at the first ill-typed field and would make the program 0.2 MB larger.
type reader struct {
	file     string
	into     *File
	parser   unstable.Parser
	problems []*Error

	// The table that is being read.
	fields []field
	lines  lines
	kind   string // its name: output or unit; empty: the general one
	skip   bool   // it is unknown, and was told of
}

func (r *reader) read(text []byte) {
	r.lines = r.into.lines
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	r.parser.Reset(text)
	for r.parser.NextExpression() {
		switch e := r.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			r.table(e)
		case unstable.KeyValue:
			r.keyValue(e)
		}
	}
	if broken, ok := errors.AsType[*unstable.ParserError](r.parser.Error()); ok {
		line := 0
		if len(broken.Highlight) > 0 {
			line = r.line(r.parser.Range(broken.Highlight))
		}
		fix := ""
		if strings.Contains(broken.Message, "leading zero") {
			fix = `permissions are written in quotes: mode = "0600"`
		}
		r.problem(line, fix, "not TOML: %s", broken.Message)
	} else if err := r.parser.Error(); err != nil {
		r.problem(0, "", "not TOML: %w", err)
	}
}

func (r *reader) line(at unstable.Range) int { return r.parser.Shape(at).Start.Line }

func (r *reader) problem(line int, fix, format string, args ...any) {
	r.problems = append(r.problems, &Error{File: r.file, Line: line, Err: fmt.Errorf(format, args...), Fix: fix})
}

// key gives a key's parts joined by dots, and its line.
func (r *reader) key(e *unstable.Node) (string, int) {
	var parts []string
	line := 0
	for k := e.Key(); k.Next(); {
		if line == 0 {
			line = r.line(k.Node().Raw)
		}
		parts = append(parts, string(k.Node().Data))
	}
	return strings.Join(parts, "."), line
}

func (r *reader) table(e *unstable.Node) {
	name, line := r.key(e)
	known := name == "output" || name == "unit"
	r.skip = !known || e.Kind != unstable.ArrayTable
	switch {
	case known && r.skip:
		r.problem(line, "", "[%s] is written [[%s]]: there can be several", name, name)
	case r.skip:
		fix := "the tables are [[output]] and [[unit]]"
		if word := nearest.Word(name, []string{"output", "unit"}); word != "" {
			fix = "did you mean [[" + word + "]]? " + fix
		}
		r.problem(line, fix, "unknown table %s", told(name))
	case name == "output":
		r.into.Outputs = append(r.into.Outputs, Output{lines: lines{"": line}})
		o := &r.into.Outputs[len(r.into.Outputs)-1]
		r.kind, r.fields, r.lines = name, o.fields(), o.lines
	default:
		r.into.Units = append(r.into.Units, Unit{lines: lines{"": line}})
		u := &r.into.Units[len(r.into.Units)-1]
		r.kind, r.fields, r.lines = name, u.fields(), u.lines
	}
}

func (r *reader) keyValue(e *unstable.Node) {
	if r.skip {
		return
	}
	name, line := r.key(e)
	at := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name })
	if at < 0 {
		r.unknown(name, line)
		return
	}
	if first, twice := r.lines[name]; twice {
		r.problem(line, "", "%s is given twice: first on line %d", name, first)
		return
	}
	r.lines[name] = line
	if err := r.fields[at].set(e.Value()); err != nil {
		r.problem(line, "", "%s: %w", name, err)
	}
}

// unknown tells of a field that there isn't, and where it may have been meant to stand.
func (r *reader) unknown(name string, line int) {
	fix := strings.TrimSpace(nearest.Hint(name, names(r.fields)) + " the fields are " + strings.Join(names(r.fields), ", "))
	switch {
	case r.kind != "" && slices.ContainsFunc(r.into.fields(), func(f field) bool { return f.name == name }):
		fix = map[string]string{"output": "it isn't an output's", "unit": "it isn't a unit's"}[r.kind] + ": move it above the first [[" + r.kind + "]]"
	case r.kind == "" && slices.ContainsFunc((&Output{}).fields(), func(f field) bool { return f.name == name }):
		fix = "it is an output's: write [[output]] above it"
	case slices.Contains([]string{"api_key", "key", "token", "apikey"}, name):
		fix = "the key has a file of its own: name that with key_file"
	case name == "output":
		fix = "write each output as a table that begins with [[output]]"
	case name == "resource_id":
		fix = "write sandbox_id or computer_id"
	}
	r.problem(line, fix, "unknown field %s", told(name))
}

// finish checks what no field can tell alone.
func (r *reader) finish() {
	s := r.into
	if s.SandboxID != "" && s.ComputerID != "" {
		r.problem(max(s.lines["sandbox_id"], s.lines["computer_id"]), "leave one out", "sandbox_id and computer_id are both given")
	}
	paths := map[string]int{}
	for _, o := range s.Outputs {
		line := o.lines[""]
		if _, given := o.lines["path"]; !given {
			r.problem(line, "", "an [[output]] needs a path")
		} else if first, twice := paths[o.Path]; twice && o.Path != "" {
			r.problem(o.lines["path"], "", "path: another output has it, on line %d", first)
		} else {
			paths[o.Path] = o.lines["path"]
		}
		if _, given := o.lines["format"]; !given {
			r.problem(line, "", "an [[output]] needs a format")
		}
	}
	r.finishUnits()
}

// set takes a value if it is of the field's type and in its form.
func (f field) set(v *unstable.Node) error {
	switch to := f.to.(type) {
	case *bool:
		if v.Kind != unstable.Bool {
			return mistyped(v, "true or false")
		}
		*to = string(v.Data) == "true"
	case **bool:
		if v.Kind != unstable.Bool {
			return mistyped(v, "true or false")
		}
		b := string(v.Data) == "true"
		*to = &b
	case *[]string:
		if v.Kind != unstable.Array {
			return mistyped(v, `a list of texts, such as ["a", "b"]`)
		}
		list := []string{}
		for each := v.Children(); each.Next(); {
			if each.Node().Kind != unstable.String {
				return mistyped(each.Node(), `a list of texts, such as ["a", "b"]`)
			}
			list = append(list, setting.Trim(string(each.Node().Data)))
		}
		if i := slices.Index(list, ""); i >= 0 {
			return fmt.Errorf("entry %d is empty: take it out", i+1)
		}
		*to = list
	case *time.Duration:
		if v.Kind != unstable.String {
			return mistyped(v, `a length of time in quotes, such as "30s" or "24h"`)
		}
		d, err := time.ParseDuration(setting.Trim(string(v.Data)))
		if err != nil || d <= 0 {
			return errors.New(`want a length of time in quotes, such as "30s" or "24h"`)
		}
		*to = d
	case *fs.FileMode:
		if v.Kind != unstable.String {
			return mistyped(v, `permissions in quotes, such as "0600"`)
		}
		bits, err := strconv.ParseUint(string(v.Data), 8, 12)
		if err != nil || bits == 0 {
			return errors.New(`want permissions in quotes, such as "0600"`)
		}
		*to = fs.FileMode(bits)
	case *string:
		if v.Kind != unstable.String {
			return mistyped(v, "text in quotes")
		}
		text := setting.Trim(string(v.Data))
		switch {
		case text == "":
			return errors.New("it is empty: leave it out instead")
		case strings.IndexByte(text, 0) >= 0:
			return errors.New("it holds a NUL character")
		case f.check != nil:
			if err := f.check(text); err != nil {
				return err
			}
		case f.among != nil:
			word, err := setting.Among(text, f.among)
			if err != nil {
				return err
			}
			text = word
		}
		*to = text
	}
	return nil
}

func mistyped(v *unstable.Node, want string) error {
	return fmt.Errorf("want %s, not %s", want, kindOf(v))
}

func kindOf(v *unstable.Node) string {
	switch v.Kind {
	case unstable.String:
		return "text"
	case unstable.Bool:
		return "true or false"
	case unstable.Integer, unstable.Float:
		return "a number"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		return "a date or time"
	}
	return "this"
}

// told is a name from the file as an error repeats it.
func told(name string) string {
	const most = 60
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strconv.Quote(api.RedactKeys(name))
}

func absolute(path string) error {
	switch {
	case !filepath.IsAbs(path):
		return errors.New("want an absolute path")
	case filepath.Clean(path) != path:
		return fmt.Errorf("want %s", told(filepath.Clean(path)))
	}
	return nil
}

// loopback takes HOST:PORT where only this machine itself can reach it.
func loopback(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("want HOST:PORT, such as 127.0.0.1:9464")
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return errors.New("want an address that only this machine can reach, such as 127.0.0.1:9464")
	}
	return nil
}

// unitName takes the name of a unit that can have credentials.
func unitName(name string) error {
	kind := path.Ext(name)
	if name == kind || strings.Contains(name, "/") || kind != ".service" && kind != ".socket" && kind != ".mount" && kind != ".swap" {
		return errors.New("want the name of a unit, such as app.service")
	}
	return nil
}

// finishUnits checks what no field of a unit can tell alone.
func (r *reader) finishUnits() {
	names := map[string]int{}
	for _, u := range r.into.Units {
		line := u.lines[""]
		if _, given := u.lines["name"]; !given {
			r.problem(line, "", "a [[unit]] needs a name")
		} else if first, twice := names[u.Name]; twice && u.Name != "" {
			r.problem(u.lines["name"], "", "name: another unit has it, on line %d", first)
		} else {
			names[u.Name] = u.lines["name"]
		}
		if _, given := u.lines["only"]; !given {
			r.problem(line, "", "a [[unit]] needs only: the names of what it may have")
		}
		for _, pattern := range u.Only {
			if _, err := path.Match(pattern, ""); err != nil {
				r.problem(u.lines["only"], "", "only: %s isn't a pattern: %w", told(pattern), err)
			}
		}
	}
}
