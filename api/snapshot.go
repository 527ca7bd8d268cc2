package api

import "time"

// Snapshot is the set of one resource at one time, in the order of the vault. It is immutable.
type Snapshot struct {
	Resource Resource
	Etag     string
	Bound    []Bound
	Policy   *NetworkPolicy // for a broker key only
}

// Bound is a binding with its value.
type Bound struct {
	Label
	About
	Value Value
}

// Bindings are the set's bindings, without placeholder tokens.
func (s Snapshot) Bindings() []Binding {
	list := make([]Binding, len(s.Bound))
	for i, b := range s.Bound {
		list[i] = Binding{
			ID: b.ID, SecretID: b.SecretID, Resource: s.Resource, ExposeAsEnv: b.ExposeAsEnv, Delivery: b.Delivery,
			SecretName: b.SecretName, Version: b.Version, UpdatedAt: b.UpdatedAt, ExpiresAt: b.ExpiresAt,
		}
	}
	return list
}

// Expires is when the first of a set's values expires; zero if none does.
func (s Snapshot) Expires() (at time.Time) {
	for _, b := range s.Bound {
		if b.ExpiresAt != nil && (at.IsZero() || b.ExpiresAt.Before(at)) {
			at = *b.ExpiresAt
		}
	}
	return at
}

// Unexpired splits a set into live and expired values. The live ones have the etag that the vault gives to such a set;
// if nothing has expired they are the set itself. Values are shared, not copied.
func (s Snapshot) Unexpired(now time.Time) (live Snapshot, expired []Bound) {
	if at := s.Expires(); at.IsZero() || at.After(now) {
		return s, nil
	}
	live = Snapshot{Resource: s.Resource, Policy: s.Policy, Bound: make([]Bound, 0, len(s.Bound))}
	for _, b := range s.Bound {
		if b.ExpiresAt != nil && !b.ExpiresAt.After(now) {
			expired = append(expired, b)
			continue
		}
		live.Bound = append(live.Bound, b)
	}
	live.Etag = EtagWithPolicy(s.Resource, Labels(live.Bound), s.Policy)
	return live, expired
}
