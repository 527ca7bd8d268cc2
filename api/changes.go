package api

import (
	"bytes"
	"maps"
	"slices"
)

// Changes is how one set of variables differs from another, by names and versions. It has no values, so it can be
// logged.
type Changes struct {
	Added   []Variable `json:"added,omitempty"`
	Changed []Variable `json:"changed,omitempty"`
	Removed []Variable `json:"removed,omitempty"` // without versions
}

// Variable is a variable of a set.
type Variable struct {
	Name    string `json:"name"`
	Version int64  `json:"version,omitempty"` // of its secret now; 0: unknown, or no binding sets it
}

// Compare returns the changes from before to now, sorted by name. The maps are from names to contents. version returns
// the current version of a variable.
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

// CompareLabels returns the changes of a set. A variable has changed if its version, secret, binding, placeholder or rules have.
func CompareLabels(before, now []Label) Changes {
	byName := func(list []Label) map[string]Label {
		m := make(map[string]Label, len(list))
		for _, l := range list {
			l.ExpiresAt = nil // doesn't affect the variable's content
			m[l.ExposeAsEnv] = l
		}
		return m
	}
	latest := byName(now)
	return Compare(byName(before), latest,
		func(a, b Label) bool { return bytes.Equal(a.appendFrame(nil), b.appendFrame(nil)) },
		func(name string) int64 { return latest[name].Version })
}

// Labels are the labels of a set, with placeholders.
func Labels(set []Bound) []Label {
	labels := make([]Label, len(set))
	for i, b := range set {
		labels[i] = b.Label
		if b.Delivery == DeliverPlaceholder && b.Egress == nil {
			labels[i].Placeholder = b.Value.Reveal()
		}
	}
	return labels
}
