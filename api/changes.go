package api

import (
	"maps"
	"slices"
)

// Changes is how one set of variables differs from another: by names and versions, never by values. It is
// logged as it is.
type Changes struct {
	Added   []Variable `json:"added,omitempty"`
	Changed []Variable `json:"changed,omitempty"`
	Removed []Variable `json:"removed,omitempty"` // with no version
}

// Variable is one of them.
type Variable struct {
	Name    string `json:"name"`
	Version int64  `json:"version,omitempty"` // of the secret behind it now; 0: no binding sets it, or the vault doesn't say
}

// Compare says how variables differ from what they were, sorted by name. Maps are of contents by name.
// The version of a variable is asked for by name.
func Compare[T any](before, now map[string]T, equal func(a, b T) bool, version func(name string) int64) Changes {
	var c Changes
	for _, name := range slices.Sorted(maps.Keys(now)) {
		old, there := before[name]
		switch {
		case !there:
			c.Added = append(c.Added, Variable{name, version(name)})
		case !equal(old, now[name]):
			c.Changed = append(c.Changed, Variable{name, version(name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, there := now[name]; !there {
			c.Removed = append(c.Removed, Variable{Name: name})
		}
	}
	return c
}

// CompareLabels says how a set differs from what it was. A variable has changed where another version,
// secret or binding is behind it.
func CompareLabels(before, now []Label) Changes {
	byName := func(list []Label) map[string]Label {
		m := make(map[string]Label, len(list))
		for _, l := range list {
			l.ExpiresAt = nil // not a matter of what the variable holds
			m[l.ExposeAsEnv] = l
		}
		return m
	}
	latest := byName(now)
	return Compare(byName(before), latest,
		func(a, b Label) bool { return a == b },
		func(name string) int64 { return latest[name].Version })
}

// Labels is everything about a set but its values.
func Labels(set []Bound) []Label {
	labels := make([]Label, len(set))
	for i, b := range set {
		labels[i] = b.Label
	}
	return labels
}
