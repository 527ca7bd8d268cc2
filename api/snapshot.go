package api

// Snapshot is the set of one resource at one time, in the order of the vault. It is immutable.
type Snapshot struct {
	Resource Resource
	Etag     string
	Bound    []Bound
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
			SecretName: b.SecretName, Version: b.Version, UpdatedAt: b.UpdatedAt,
		}
	}
	return list
}
