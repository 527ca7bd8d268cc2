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
	Value Value
}
