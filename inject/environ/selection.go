package environ

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Bindings returns the selected bindings under their final names, for delivery in another form than an environment. It
// uses Bound, Only, Prefix, RequireOnly, AllowNames, and Inherited for bindings with api.DeliverPlatform.
//
// Errors: *NotProvided, *Refused, or one about invalid patterns.
func (e Environment) Bindings() ([]api.Bound, []Warning, error) {
	bound, warnings, err := e.selected()
	if err != nil {
		return nil, nil, err
	}
	bound, more, problems := e.check(bound, nil, func(string) bool { return false })
	if len(problems) > 0 {
		return nil, nil, problems[0]
	}
	return bound, append(warnings, more...), nil
}

// check returns the selected bindings but those whose variables keep their values, and what is wrong with all of them:
// *Refused, *NotProvided. No binding may set one of last.
func (e Environment) check(selected []api.Bound, last []string, keeps func(name string) bool) (bound []api.Bound, warnings []Warning, problems []error) {
	refused, warnings := guard(selected, e.RequireOnly, e.AllowNames, last)
	absent := &NotProvided{}
	bound = selected[:0]
	for _, b := range selected {
		if keeps(b.ExposeAsEnv) {
			continue
		}
		bound = append(bound, b)
		if notProvided(&b) {
			label := b.Label
			label.ExposeAsEnv = strings.TrimPrefix(label.ExposeAsEnv, e.Prefix)
			absent.Bindings = append(absent.Bindings, label)
		} else if b.Delivery == api.DeliverPlatform {
			warnings = append(warnings, Warning{Kind: WarnPlatform, Binding: b.ID, Name: b.ExposeAsEnv})
		}
	}
	if len(refused) > 0 {
		problems = append(problems, &Refused{refused})
	}
	if len(absent.Bindings) > 0 {
		problems = append(problems, absent)
	}
	return bound, warnings, problems
}

// selected returns the bindings that Only selects, with their final names and with the values that the platform has set,
// and a warning for each entry of Only that selects none.
func (e Environment) selected() ([]api.Bound, []Warning, error) {
	kept := make([]api.Bound, 0, len(e.Bound))
	used := make([]bool, len(e.Only))
	var invalid []error
	for i, pattern := range e.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			invalid = append(invalid, fmt.Errorf("--only %s: not a pattern", Quote(pattern)))
			used[i] = true
		}
	}
	for _, pattern := range e.RequireOnly {
		if _, err := path.Match(pattern, ""); err != nil {
			invalid = append(invalid, fmt.Errorf("--require-only %s: not a pattern", Quote(pattern)))
		}
	}
	for _, b := range e.Bound {
		keep := len(e.Only) == 0
		for i, pattern := range e.Only {
			if matches(pattern, b.ExposeAsEnv) {
				keep, used[i] = true, true
			}
		}
		if !keep {
			continue
		}
		if notProvided(&b) {
			b.Value = e.platformValue(b.ExposeAsEnv)
		}
		if b.ExposeAsEnv != "" { // guard refuses an empty name
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
	return kept, warnings, errors.Join(invalid...)
}

// matches reports whether name is the pattern, or matches it.
func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok || pattern == name
}

// nearBound returns the bound name that an entry of Only probably meant, or "".
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
