package vault

// UntilDue is untilDue.
var UntilDue = untilDue

// Routes returns the names of all routes that require a key.
func (v *Vault) Routes() []string {
	names := make([]string, len(v.routes))
	for i, rt := range v.routes {
		names[i] = rt.name()
	}
	return names
}

// Waiting is the number of reveals that wait.
func (v *Vault) Waiting() int { return v.limits.requests.Waiting() }
