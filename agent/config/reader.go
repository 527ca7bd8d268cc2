package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// reader reads TOML into a Config. It continues after a problem, so that all are reported at once; only a syntax error ends
// it.
//
// It uses the parser of go-toml and not its decoder, which stops at the first wrong type and does not return the lines of
// fields. Origins need them: the paths, users and URLs in fields are checked later. BurntSushi/toml has the same limits.
type reader struct {
	file     string
	into     *Config
	parser   unstable.Parser
	problems []*Error
	unique   map[string]int // line of each text that no other table may have

	// The table that is being read.
	kind    string // output or unit; empty: the fields above all tables
	options []Option
	at      *origin
	skip    bool // the table is unknown
}

// Parse reads the text of a configuration into c, where its fields override what c has. Errors refer to it as file.
// Errors: *Error, all problems joined in the order of their lines; c is then of no use.
func (c *Config) Parse(file string, text []byte) error {
	if len(text) > maxBytes {
		return &Error{File: file, Err: errors.New("longer than 1 MiB")}
	}
	c.origin = origin{file: file, lines: map[string]int{}}
	r := &reader{file: file, into: c, unique: map[string]int{}, options: c.Options(), at: &c.origin}
	r.read(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if c.Sets("sandbox_id") && c.Sets("computer_id") {
		r.problem(max(c.lines["sandbox_id"], c.lines["computer_id"]), "leave one out", "sandbox_id and computer_id are both given")
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	joined := make([]error, len(r.problems))
	for i, p := range r.problems {
		joined[i] = p
	}
	return errors.Join(joined...)
}

func (r *reader) read(text []byte) {
	r.parser.Reset(text)
	for r.parser.NextExpression() {
		switch e := r.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			r.endTable()
			r.table(e)
		case unstable.KeyValue:
			r.keyValue(e)
		}
	}
	r.endTable()
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

// key returns the parts of a key joined by dots, and its line.
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

// table begins a table.
func (r *reader) table(e *unstable.Node) {
	name, line := r.key(e)
	known := name == "output" || name == "unit"
	r.skip = !known || e.Kind != unstable.ArrayTable
	at := origin{file: r.file, table: line, lines: map[string]int{}}
	switch {
	case known && r.skip:
		r.problem(line, "", "[%s] is written [[%s]]: there can be several", name, name)
	case r.skip:
		fix := "the tables are [[output]] and [[unit]]"
		if word := nearest.Word(name, []string{"output", "unit"}); word != "" {
			fix = "did you mean [[" + word + "]]? " + fix
		}
		r.problem(line, fix, "unknown table %s", quoted(name))
	case name == "output":
		r.into.Outputs = append(r.into.Outputs, Output{origin: at})
		o := &r.into.Outputs[len(r.into.Outputs)-1]
		r.kind, r.options, r.at = name, o.options(), &o.origin
	default:
		r.into.Units = append(r.into.Units, Unit{origin: at})
		u := &r.into.Units[len(r.into.Units)-1]
		r.kind, r.options, r.at = name, u.options(), &u.origin
	}
}

// endTable reports the fields that a table lacks.
func (r *reader) endTable() {
	for _, o := range r.options {
		if o.required != "" && !r.skip && !r.at.Sets(o.Field) {
			article := map[string]string{"output": "an", "unit": "a"}[r.kind]
			r.problem(r.at.table, "", "%s [[%s]] needs %s", article, r.kind, o.required)
		}
	}
}

func (r *reader) keyValue(e *unstable.Node) {
	if r.skip {
		return
	}
	name, line := r.key(e)
	at := find(r.options, name)
	if at < 0 {
		r.unknown(name, line)
		return
	}
	if r.at.Sets(name) {
		r.problem(line, "", "%s is given twice: first on line %d", name, r.at.lines[name])
		return
	}
	if r.kind == "" {
		r.into.replace(name)
	}
	r.at.lines[name] = line
	o := r.options[at]
	if err := o.parse(e.Value()); err != nil {
		r.problem(line, "", "%s: %w", name, err)
	} else if o.unique {
		id := r.kind + " " + o.Value.String()
		if first := r.unique[id]; first > 0 {
			r.problem(line, "", "%s: another %s has it, on line %d", name, r.kind, first)
		} else {
			r.unique[id] = line
		}
	}
}

func find(options []Option, field string) int {
	return slices.IndexFunc(options, func(o Option) bool { return o.Field != "" && o.Field == field })
}

// unknown reports an unknown field, and where it may belong.
func (r *reader) unknown(name string, line int) {
	var fields []string
	for _, o := range r.options {
		if o.Field != "" {
			fields = append(fields, o.Field)
		}
	}
	fix := strings.TrimSpace(nearest.Hint(name, fields) + " the fields are " + strings.Join(fields, ", "))
	switch {
	case r.kind != "" && find(r.into.Options(), name) >= 0:
		fix = map[string]string{"output": "it isn't an output's", "unit": "it isn't a unit's"}[r.kind] + ": move it above the first [[" + r.kind + "]]"
	case r.kind == "" && find((&Output{}).options(), name) >= 0:
		fix = "it is an output's: write [[output]] above it"
	case slices.Contains([]string{"api_key", "key", "token", "apikey"}, name):
		fix = "the key has a file of its own: name that with key_file"
	case name == "output":
		fix = "write each output as a table that begins with [[output]]"
	case name == "resource_id":
		fix = "write sandbox_id or computer_id"
	}
	r.problem(line, fix, "unknown field %s", quoted(name))
}

// parse sets an option from a TOML value of its type.
func (o *Option) parse(v *unstable.Node) error {
	kind, want := unstable.String, "text in quotes"
	switch o.Value.Type() {
	case "bool":
		kind, want = unstable.Bool, "true or false"
	case "list":
		kind, want = unstable.Array, `a list of texts, such as ["a", "b"]`
	case "duration":
		want = `a length of time in quotes, such as "30s" or "24h"`
	case "mode":
		want = `permissions in quotes, such as "0600"`
	}
	if v.Kind != kind {
		return mistyped(v, want)
	}
	text := setting.Trim(string(v.Data))
	switch o.Value.Type() {
	case "list":
		return o.parseList(v, want)
	case "duration", "mode":
		if o.Value.Set(text) != nil || o.Value.String() == "0s" {
			return errors.New("want " + want)
		}
		return nil
	}
	switch {
	case text == "":
		return errors.New("it is empty: leave it out instead")
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("it holds a NUL character")
	case o.Value.Type() == "path" && !filepath.IsAbs(text):
		return errors.New("want an absolute path")
	case o.Value.Type() == "path" && filepath.Clean(text) != text:
		return fmt.Errorf("want %s", quoted(filepath.Clean(text)))
	case o.check != nil:
		if err := o.check(text); err != nil {
			return err
		}
	}
	return o.Value.Set(text)
}

func (o *Option) parseList(v *unstable.Node, want string) error {
	list := []string{}
	for each := v.Children(); each.Next(); {
		text := setting.Trim(string(each.Node().Data))
		switch {
		case each.Node().Kind != unstable.String:
			return mistyped(each.Node(), want)
		case text == "":
			return fmt.Errorf("entry %d is empty: take it out", len(list)+1)
		case o.check != nil:
			if err := o.check(text); err != nil {
				return err
			}
		}
		list = append(list, text)
	}
	*o.Value.List = list
	return nil
}

func mistyped(v *unstable.Node, want string) error {
	const number, moment = "a number", "a date or time"
	got := map[unstable.Kind]string{
		unstable.String: "text", unstable.Bool: "true or false", unstable.Array: "a list", unstable.InlineTable: "a table",
		unstable.Integer: number, unstable.Float: number,
		unstable.LocalDate: moment, unstable.LocalTime: moment, unstable.LocalDateTime: moment, unstable.DateTime: moment,
	}
	return fmt.Errorf("want %s, not %s", want, cmp.Or(got[v.Kind], "this"))
}

// quoted returns a name from the file as errors show it.
func quoted(name string) string {
	const most = 60
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strconv.Quote(api.RedactKeys(name))
}
