package option

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

// Schema is what a configuration may contain.
type Schema struct {
	Options []Option // of the fields above all tables
	Tables  []Table
	Replace func(field string)       // called before a field above all tables is set; may be nil
	Hint    func(name string) string // how to fix an unknown field, "" if nothing special is known; may be nil
}

// Table is a kind of table. A configuration may have several of each: [[name]].
type Table struct {
	Name    string
	Article string   // "a" or "an"
	Options []Option // of no particular table
	// Add adds a table that is there, and returns its options and where it keeps this.
	Add func(Origin) ([]Option, *Origin)
}

// reader reads TOML. It continues after a problem, so that all are reported at once; only a syntax error ends it.
//
// It uses the parser of go-toml and not its decoder, which stops at the first wrong type and does not return the lines of
// fields. Origins need them: the paths, users and URLs in fields are checked later. BurntSushi/toml has the same limits.
type reader struct {
	file     string
	schema   Schema
	parser   unstable.Parser
	problems []*Error
	unique   map[string]int // line of each text that no other table may have

	// The table that is being read.
	kind    *Table // nil: the fields above all tables
	options []Option
	at      *Origin
	skip    bool // the table is unknown
}

// Parse reads the text of a configuration. It sets the options of schema, and returns where their fields are. Errors refer to
// it as file. After an error, what was set is of no use.
// Errors: *Error, all problems joined in the order of their lines. more adds problems that are about several fields; may be nil.
func Parse(file string, text []byte, schema Schema, more func(*Origin) []*Error) (Origin, error) {
	top := Origin{file: file, lines: map[string]int{}}
	if len(text) > maxBytes {
		return top, &Error{File: file, Err: errors.New("longer than 1 MiB")}
	}
	r := &reader{file: file, schema: schema, unique: map[string]int{}, options: schema.Options, at: &top}
	whole := r.read(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if more != nil && whole {
		r.problems = append(r.problems, more(&top)...)
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	joined := make([]error, len(r.problems))
	for i, p := range r.problems {
		joined[i] = p
	}
	return top, errors.Join(joined...)
}

// read reads a text. It reports whether it got to the end: else a syntax error is among the problems, and nothing is known of what
// would have come after it.
func (r *reader) read(text []byte) (whole bool) {
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
	if broken, ok := errors.AsType[*unstable.ParserError](r.parser.Error()); ok {
		line := 0
		if len(broken.Highlight) > 0 {
			line = r.line(r.parser.Range(broken.Highlight))
		}
		fix := ""
		switch {
		case strings.Contains(broken.Message, "leading zero"):
			fix = `permissions are written in quotes: mode = "0600"`
		case strings.Contains(broken.Message, "at start of value"):
			fix = `put text in quotes: "..."`
		}
		r.problem(line, fix, "not TOML: %s", broken.Message)
		return false
	}
	if err := r.parser.Error(); err != nil {
		r.problem(0, "", "not TOML: %w", err)
		return false
	}
	r.endTable()
	return true
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
	at := slices.IndexFunc(r.schema.Tables, func(t Table) bool { return t.Name == name })
	r.skip = at < 0 || e.Kind != unstable.ArrayTable
	switch {
	case at < 0:
		names := make([]string, len(r.schema.Tables))
		for i, t := range r.schema.Tables {
			names[i] = t.Name
		}
		fix := "the tables are [[" + strings.Join(names, "]] and [[") + "]]"
		if len(names) == 1 {
			fix = "the only kind of table is [[" + names[0] + "]]"
		}
		if word := nearest.Word(name, names); word != "" {
			fix = "did you mean [[" + word + "]]? " + fix
		}
		r.problem(line, fix, "unknown table %s", quoted(name))
	case r.skip:
		r.problem(line, "", "[%s] is written [[%s]]: there can be several", name, name)
	default:
		r.kind = &r.schema.Tables[at]
		r.options, r.at = r.kind.Add(Origin{file: r.file, table: line, lines: map[string]int{}})
	}
}

// endTable reports the fields that a table lacks.
func (r *reader) endTable() {
	for _, o := range r.options {
		if o.Required != "" && !r.skip && !r.at.Sets(o.Field) {
			if r.kind == nil {
				r.problem(0, "", "it needs %s", o.Required)
				continue
			}
			r.problem(r.at.table, "", "%s [[%s]] needs %s", r.kind.Article, r.kind.Name, o.Required)
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
	if r.kind == nil && r.schema.Replace != nil {
		r.schema.Replace(name)
	}
	r.at.lines[name] = line
	o := r.options[at]
	if err := o.parse(e.Value()); err != nil {
		r.problem(line, "", "%s: %w", name, err)
	} else if o.Unique {
		id := r.kind.Name + " " + o.Value.String()
		if first := r.unique[id]; first > 0 {
			r.problem(line, "", "%s: another %s has it, on line %d", name, r.kind.Name, first)
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
	if special := r.hint(name); special != "" {
		fix = special
	}
	r.problem(line, fix, "unknown field %s", quoted(name))
}

// hint returns where an unknown field may belong, or "".
func (r *reader) hint(name string) string {
	if r.kind != nil && find(r.schema.Options, name) >= 0 {
		return "it isn't " + r.kind.Article + " " + r.kind.Name + "'s: move it above the first [[" + r.kind.Name + "]]"
	}
	for _, t := range r.schema.Tables {
		switch {
		case r.kind == nil && find(t.Options, name) >= 0:
			return "it is " + t.Article + " " + t.Name + "'s: write [[" + t.Name + "]] above it"
		case name == t.Name:
			return "write each " + name + " as a table that begins with [[" + name + "]]"
		}
	}
	if r.schema.Hint != nil {
		return r.schema.Hint(name)
	}
	return ""
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
	case o.Check != nil:
		if err := o.Check(text); err != nil {
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
		case o.Check != nil:
			if err := o.Check(text); err != nil {
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
