// Package environ makes a command's environment from inherited variables, env files and bound values, and refuses names
// that run code or belong to miosa-env.
//
// docs/security.md lists the guarded names.
package environ

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Environment describes a command's environment. Its sources are, each overriding the previous one: inherited variables,
// env files, bound values. The zero Environment is empty.
type Environment struct {
	// Inherited is this process's environment, as os.Environ returns it. Entries are kept byte for byte, also those
	// without a name. Of several with the same name the first is kept, which is what getenv finds. Bindings with
	// api.DeliverPlatform have their values here.
	Inherited []string
	// Files are the paths of env files, read by each Build. Later files override earlier ones.
	Files []string
	// Bound are the values to inject, in the vault's order.
	Bound []api.Bound

	// Only selects the bindings whose name (without Prefix) is in the list or matches a pattern of path.Match. Empty: all.
	Only []string
	// Prefix is prepended to every bound name.
	Prefix string
	// PreserveEnv makes inherited variables and those of env files override bindings.
	PreserveEnv bool
	// PreserveNames lists final names for which PreserveEnv applies.
	PreserveNames []string
	// Pristine ignores Inherited, except for bindings with api.DeliverPlatform.
	Pristine bool

	// Require lists final names that some source must set.
	Require []string
	// RequireOnly lists the final names that bindings may set, or patterns of path.Match. Empty: all. The guard's own lists apply
	// nevertheless.
	RequireOnly []string
	// AllowNames lists exact final names that bindings may set although they run code or redirect traffic.
	AllowNames []string
	// KeepKey keeps the variables of keyNames.
	KeepKey bool

	// Complete returns variables, as NAME=value, that override all others and that no binding may set. get returns what Inherited and
	// Files set, or "". Nil: none.
	Complete func(get func(name string) string) ([]string, error)
}

// keyNames are the variables that hold a key of miosa-env, or its path. They are removed whatever sets them.
// MIOSA_BASE_URL and the resource's id aren't secret and stay.
var keyNames = []string{"MIOSA_API_KEY", "MIOSA_API_KEY_FILE", "MIOSA_TENANT_KEY", "MIOSA_TENANT_KEY_FILE"}

// Build returns the environment. Only bound values are guarded (see classify): the user who starts the command chose the
// other variables, and could start it without miosa-env.
//
// Errors, joined: *dotenv.Error for an env file, *Refused for names and values that bindings must not set, *NotProvided
// for variables that the platform should have set, and one for required names, invalid patterns and an invalid prefix.
func (e Environment) Build() (Built, error) {
	var problems []error
	if e.Prefix != "" && !ValidName(e.Prefix) {
		problems = append(problems, fmt.Errorf("--prefix %s: want letters, digits and _, no digit first", Quote(e.Prefix)))
	}
	bound, warnings, err := e.selected()
	problems = append(problems, err)

	set := newNameSet(len(e.Inherited) + len(bound))
	if !e.Pristine {
		for _, entry := range e.Inherited {
			e.inherit(set, entry)
		}
	}
	filesRead := true
	for _, path := range e.Files {
		if err := e.addFile(set, path); err != nil {
			problems, filesRead = append(problems, err), false
		}
	}

	var last []string
	if e.Complete != nil {
		last, err = e.Complete(set.get)
		problems = append(problems, err)
	}
	bound, more, unfit := e.check(bound, last, func(name string) bool {
		return (e.PreserveEnv || slices.Contains(e.PreserveNames, name)) && set.has(name)
	})
	problems = append(problems, unfit...)
	for _, b := range bound { // if the platform should have set it, it isn't reported as missing too
		set.put(b.ExposeAsEnv, b.Value.Reveal())
	}
	for _, entry := range last {
		name, _, _ := strings.Cut(entry, "=")
		set.add(name, entry)
	}
	if filesRead { // a missing name may be set by a file that can't be read
		problems = append(problems, e.missing(set))
	}
	if err := errors.Join(problems...); err != nil {
		return Built{}, err
	}
	return Built{Environ: set.entries, Bound: bound, Warnings: append(warnings, more...)}, nil
}

// inherit adds an inherited entry.
func (e Environment) inherit(set *nameSet, entry string) {
	at := strings.IndexByte(entry, '=')
	if at <= 0 {
		set.entries = append(set.entries, entry)
		return
	}
	name := entry[:at]
	if slices.Contains(keyNames, name) {
		if !e.KeepKey {
			return
		}
		entry = strings.Clone(entry) // Scrub overwrites the original
	}
	if !set.has(name) {
		set.add(name, entry)
	}
}

// addFile adds the variables of an env file.
func (e Environment) addFile(set *nameSet, path string) error {
	list, err := dotenv.Read(path)
	if err != nil {
		return err
	}
	for _, v := range list {
		if e.KeepKey || !slices.Contains(keyNames, v.Name) {
			set.put(v.Name, v.Value.Reveal())
		}
	}
	return nil
}

// ExpiredHint is the hint about a binding whose secret has expired.
const ExpiredHint = "store a new value with miosa-env secrets rotate, and its time with --expires"

// missing returns an error if names of Require aren't set.
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
	known := make([]string, len(set.entries))
	for i, entry := range set.entries {
		known[i], _, _ = strings.Cut(entry, "=")
	}
	meant := ""
	for i := 0; i < len(names) && meant == ""; i++ {
		meant = nearest.Hint(names[i], known)
	}
	return &MissingError{Names: names, meant: meant}
}

// MissingError says that names of Require aren't set.
type MissingError struct {
	Names   []string
	Expired []string // those of Names to which secrets are bound that have expired

	meant string // asks whether a similar name was meant; may be empty
}

func (m *MissingError) Error() string {
	texts := make([]string, len(m.Names))
	for i, name := range m.Names {
		texts[i] = Quote(name)
		if slices.Contains(m.Expired, name) {
			texts[i] += " (its secret has expired)"
		}
	}
	return "required but not set: " + strings.Join(texts, ", ")
}

// Hint tells how to fix it.
func (m *MissingError) Hint() string {
	if len(m.Expired) > 0 {
		return ExpiredHint
	}
	return strings.TrimSpace(m.meant + " bind a secret to it (miosa-env list shows what is bound), set it in an env file, or drop --require")
}

// nameSet is an environment without duplicate names.
type nameSet struct {
	entries []string
	at      map[string]int // name -> index in entries
}

func newNameSet(room int) *nameSet {
	return &nameSet{entries: make([]string, 0, room), at: make(map[string]int, room)}
}

func (s *nameSet) has(name string) bool {
	_, ok := s.at[name]
	return ok
}

func (s *nameSet) put(name, value string) { s.add(name, name+"="+value) }

// get returns the value of a name, or "".
func (s *nameSet) get(name string) string {
	if i, ok := s.at[name]; ok {
		return s.entries[i][len(name)+1:]
	}
	return ""
}

// add adds the entry of a name, or replaces it in place.
func (s *nameSet) add(name, entry string) {
	if i, ok := s.at[name]; ok {
		s.entries[i] = entry
		return
	}
	s.at[name] = len(s.entries)
	s.entries = append(s.entries, entry)
}
