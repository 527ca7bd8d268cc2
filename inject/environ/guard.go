package environ

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// nameClass is the effect that setting a variable can have on a command.
// Sources: the lists of sudo and sudo-rs, glibc's unsecvars.h, snapd, the manuals of the programs named.
type nameClass uint8

const (
	plainName   nameClass = iota
	warnedName            // changes how programs behave
	trafficName           // redirects traffic, or changes what is trusted
	codeName              // makes programs run other code
	ownName               // belongs to miosa-env or the service manager
)

// reasons complete the sentence "NAME ...".
var reasons = [...]string{
	warnedName:  "changes how programs behave",
	trafficName: "can redirect traffic or change what is trusted",
	codeName:    "can make programs run other code",
	ownName:     "belongs to miosa-env or the service manager",
}

// Problem is a reason why a binding can't be injected. It never contains a value.
type Problem struct {
	Binding string // the binding's id
	Name    string // the variable's final name
	Reason  string // completes "NAME ..."
	Allow   string // the flag that allows it, with its argument; empty: it can't be allowed

	// Unlisted says that the name isn't in RequireOnly.
	Unlisted bool
}

func (p *Problem) Error() string {
	s := "binding " + Quote(p.Binding) + ": " + Quote(p.Name) + " " + p.Reason
	if p.Allow != "" {
		s += " (" + p.Allow + " lets it through)"
	}
	return s
}

// Refused is the error for bindings that must not be injected. It lists all problems.
type Refused struct{ Problems []*Problem }

func (r *Refused) Error() string { return errors.Join(r.Unwrap()...).Error() }

// Unwrap returns the problems.
func (r *Refused) Unwrap() []error {
	all := make([]error, len(r.Problems))
	for i, p := range r.Problems {
		all[i] = p
	}
	return all
}

// Hint tells how to allow what can be allowed, and how to leave a binding out.
func (r *Refused) Hint() string {
	var flags []string
	for _, p := range r.Problems {
		if p.Allow != "" && !slices.Contains(flags, p.Allow) {
			flags = append(flags, p.Allow)
		}
	}
	if len(flags) == 0 {
		return "bind the secret under another name, or leave the binding out with --only"
	}
	return "if it is meant, add " + strings.Join(flags, " ") + "; else leave the binding out with --only"
}

// guard checks the values of bindings and their names, which must be final. last are the variables (NAME=value) that would override
// them. It returns all problems.
func guard(bound []api.Bound, only, allowed, last []string) ([]*Problem, []Warning) {
	var problems []*Problem
	var warnings []Warning
	setBy := make(map[string]string, len(bound)) // final name -> binding id
	for _, b := range bound {
		name := b.ExposeAsEnv
		var nul, function bool
		b.Value.Use(func(value []byte) {
			nul, function = bytes.IndexByte(value, 0) >= 0, bytes.HasPrefix(value, []byte("() "))
		})
		refuse := func(reason, allow string) {
			problems = append(problems, &Problem{Binding: b.ID, Name: name, Reason: reason, Allow: allow})
		}
		if nul {
			refuse("can't be set: its value holds a NUL byte", "")
		}
		if !ValidName(name) {
			refuse("isn't a name: want letters, digits and _, no digit first", "")
			continue
		}
		if first, taken := setBy[name]; taken {
			refuse("is set by binding "+Quote(first)+" too", "")
			continue
		}
		setBy[name] = b.ID
		class := classify(name)
		if class == ownName {
			refuse("is refused: it "+reasons[class], "")
			continue
		}
		if slices.ContainsFunc(last, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
			refuse("is refused: --egress sets it", "")
			continue
		}
		if len(only) > 0 && !slices.ContainsFunc(only, func(pattern string) bool { return matches(pattern, name) }) {
			refuse("is refused: --require-only doesn't list it", "--require-only "+name)
			problems[len(problems)-1].Unlisted = true
			continue
		}
		if slices.Contains(allowed, name) {
			continue
		}
		switch {
		case class == codeName || class == trafficName:
			refuse("is refused: it "+reasons[class], "--allow-name "+name)
		case function:
			refuse(`is refused: its value starts with "() ", which some shells run`, "--allow-name "+name)
		case class == warnedName:
			warnings = append(warnings, Warning{Kind: warnName, Binding: b.ID, Name: name})
		}
	}
	return problems, warnings
}

// ValidName reports whether s matches [A-Za-z_][A-Za-z0-9_]*.
func ValidName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Quote returns foreign text for use in an error: shortened, on one line, and without terminal escapes.
func Quote(s string) string {
	const limit = 80
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		s = strconv.QuoteToASCII(s)
	}
	if cut {
		s += "..."
	}
	return s
}
