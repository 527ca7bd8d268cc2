package inject

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Environment says what a command's environment is made of, each source overriding the one before:
// what it inherits, env files, bound values. The zero Environment makes an empty one.
type Environment struct {
	// Inherited is our own environment, as os.Environ gives it. Entries go through byte for byte, odd
	// ones (without "=", or with nothing before it) too; of several with one name the first stays,
	// which is the one that getenv finds. Bindings of api.DeliverPlatform have their values here.
	Inherited []string
	// Files are paths of env files, read at each Build; a later file wins.
	Files []string
	// Bound are the values to inject, in the vault's order.
	Bound []api.Bound

	// Only keeps the bindings whose name (before Prefix) is here or matches a pattern of path.Match.
	// Empty: all of them.
	Only []string
	// Prefix is put before every bound name.
	Prefix string
	// PreserveEnv lets every variable that is inherited or in an env file win over a binding.
	PreserveEnv bool
	// PreserveNames does so for these final names.
	PreserveNames []string
	// Pristine starts from nothing: of Inherited only what bindings of api.DeliverPlatform name is taken.
	Pristine bool

	// Require lists final names that must be set, to whatever, from whichever source.
	Require []string
	// AllowNames lists final names, exact, that a binding may set though they run code or move traffic.
	AllowNames []string
	// KeepKey leaves the variables of ownKeys in the environment.
	KeepKey bool
}

// ownKeys hold a key of ours, or say where one lies. They don't reach the command, whichever source
// they come from. MIOSA_BASE_URL and the resource's id are no secrets, and do.
var ownKeys = []string{"MIOSA_API_KEY", "MIOSA_API_KEY_FILE", "MIOSA_TENANT_KEY", "MIOSA_TENANT_KEY_FILE"}

// Build makes the environment.
//
// Bound values only are guarded (see classify): the rest is what the person who starts the command
// has chosen, who could start it without us.
//
// Errors, every one at once in lines of their own: *dotenv.Error for an env file, *Refused for what
// bindings must not set, *NotProvided for what the platform should have set, *MissingError for Require,
// and a line for each broken pattern and prefix.
func (e Environment) Build() (Built, error) {
	var problems []error
	if e.Prefix != "" && !validName(e.Prefix) {
		problems = append(problems, fmt.Errorf("--prefix %s: want letters, digits and _, no digit first", shown(e.Prefix)))
	}
	bound, warnings, err := e.selected()
	problems = append(problems, err)

	set := newNameSet(len(e.Inherited) + len(bound))
	if !e.Pristine {
		for _, entry := range e.Inherited {
			e.inherit(set, entry)
		}
	}
	files := true
	for _, path := range e.Files {
		if err := e.addFile(set, path); err != nil {
			problems, files = append(problems, err), false
		}
	}

	refused, named := guard(bound, e.AllowNames)
	if len(refused) > 0 {
		problems = append(problems, &Refused{refused})
	}
	seen := bound[:0]
	absent := &NotProvided{}
	for _, b := range bound {
		if (e.PreserveEnv || slices.Contains(e.PreserveNames, b.ExposeAsEnv)) && set.has(b.ExposeAsEnv) {
			continue
		}
		if notProvided(&b) {
			absent.add(&b, e.Prefix)
			set.put(b.ExposeAsEnv, "") // so that it isn't said to be missing as well
			continue
		}
		set.put(b.ExposeAsEnv, b.Value.Reveal())
		seen = append(seen, b)
	}
	if len(absent.Bindings) > 0 {
		problems = append(problems, absent)
	}
	if files { // else what is missing may stand in the file that can't be read
		problems = append(problems, e.missing(set))
	}
	if err := errors.Join(problems...); err != nil {
		return Built{}, err
	}
	return Built{Environ: set.entries, Bound: seen, Warnings: slices.Concat(warnings, named, platformWarnings(seen))}, nil
}

// inherit takes one inherited entry.
func (e Environment) inherit(set *nameSet, entry string) {
	at := strings.IndexByte(entry, '=')
	if at <= 0 {
		set.entries = append(set.entries, entry)
		return
	}
	name := entry[:at]
	if slices.Contains(ownKeys, name) {
		if !e.KeepKey {
			return
		}
		entry = strings.Clone(entry) // Scrub overwrites the original in place
	}
	if !set.has(name) {
		set.add(name, entry)
	}
}

// addFile lets an env file override what is there.
func (e Environment) addFile(set *nameSet, path string) error {
	list, err := dotenv.Read(path)
	if err != nil {
		return err
	}
	for _, v := range list {
		if e.KeepKey || !slices.Contains(ownKeys, v.Name) {
			set.put(v.Name, v.Value.Reveal())
		}
	}
	return nil
}

// selected returns the bindings that Only keeps, under their final names and with the values that the
// platform has set, and a warning for each entry of Only that keeps none.
func (e Environment) selected() ([]api.Bound, []Warning, error) {
	kept := make([]api.Bound, 0, len(e.Bound))
	used := make([]bool, len(e.Only))
	var broken []error
	for i, pattern := range e.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			broken = append(broken, fmt.Errorf("--only %s: not a pattern", shown(pattern)))
			used[i] = true
		}
	}
	for _, b := range e.Bound {
		keep := len(e.Only) == 0
		for i, pattern := range e.Only {
			if ok, _ := path.Match(pattern, b.ExposeAsEnv); ok || pattern == b.ExposeAsEnv {
				keep, used[i] = true, true
			}
		}
		if !keep {
			continue
		}
		if notProvided(&b) { // yet
			b.Value = e.platformValue(b.ExposeAsEnv)
		}
		if b.ExposeAsEnv != "" { // an empty name stays one, for the guard to see
			b.ExposeAsEnv = e.Prefix + b.ExposeAsEnv
		}
		kept = append(kept, b)
	}
	var warnings []Warning
	for i, pattern := range e.Only {
		if !used[i] {
			warnings = append(warnings, Warning{Kind: WarnOnly, Name: pattern, Meant: e.nearBound(pattern)})
		}
	}
	return kept, warnings, errors.Join(broken...)
}

// nearBound is the bound name that was probably meant by an entry of Only, "" where none is near.
func (e Environment) nearBound(pattern string) string {
	if strings.ContainsAny(pattern, `*?[\`) {
		return ""
	}
	known := make([]string, len(e.Bound))
	for i, b := range e.Bound {
		known[i] = b.ExposeAsEnv
	}
	return nearest.Word(pattern, known)
}

func (e Environment) missing(set *nameSet) error {
	var names []string
	for _, name := range e.Require {
		if !set.has(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	meant := ""
	known := make([]string, len(set.entries))
	for i, entry := range set.entries {
		known[i], _, _ = strings.Cut(entry, "=")
	}
	for _, name := range names {
		if meant == "" {
			meant = nearest.Hint(name, known)
		}
	}
	return &MissingError{names, meant}
}

// MissingError lists the required names that nothing sets.
type MissingError struct {
	Names []string
	meant string // which name was probably meant, as a question, or empty
}

func (m *MissingError) Error() string {
	names := make([]string, len(m.Names))
	for i, name := range m.Names {
		names[i] = shown(name)
	}
	return "required but not set: " + strings.Join(names, ", ")
}

// Hint says how to mend it.
func (m *MissingError) Hint() string {
	return strings.TrimSpace(m.meant + " bind a secret to it (miosa-env list shows what is bound), set it in an env file, or drop --require")
}

// nameSet is an environment in which each name stands once.
type nameSet struct {
	entries []string
	at      map[string]int // name -> its place in entries
}

func newNameSet(room int) *nameSet {
	return &nameSet{entries: make([]string, 0, room), at: make(map[string]int, room)}
}

func (s *nameSet) has(name string) bool {
	_, ok := s.at[name]
	return ok
}

func (s *nameSet) put(name, value string) { s.add(name, name+"="+value) }

// add takes an entry whose name is known.
func (s *nameSet) add(name, entry string) {
	if i, ok := s.at[name]; ok {
		s.entries[i] = entry
		return
	}
	s.at[name] = len(s.entries)
	s.entries = append(s.entries, entry)
}
