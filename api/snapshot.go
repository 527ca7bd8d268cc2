package api

// Snapshot is the whole set of one resource at one moment, immutable, sorted as the vault sent it.
type Snapshot struct {
	Resource Resource
	Etag     string
	Bound    []Bound
}

// Bound is one opened binding: what to inject under Label.ExposeAsEnv.
type Bound struct {
	Label
	About
	Value Value
}

// Bindings lists the set's bindings as a vault does, without values and placeholder tokens.
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
