package api

// NetworkPolicy says which hosts the requests of a resource may be sent to. The sets of broker keys have it.
type NetworkPolicy struct {
	Mode          string        `json:"mode"`           // "audit_only" or "enforce"
	DefaultEffect string        `json:"default_effect"` // "allow" or "deny"
	PolicyID      string        `json:"policy_id,omitempty"`
	Rules         []NetworkRule `json:"rules"` // the entries of the allowlist that apply to the resource
}

// NetworkRule is an entry of the allowlist.
type NetworkRule struct {
	ID       string   `json:"id"`
	Host     string   `json:"host"`   // a name, "*.example.com" for its subdomains, or for literal addresses a CIDR
	Effect   string   `json:"effect"` // "allow" or "deny"
	Methods  []string `json:"methods,omitempty"`
	PathGlob string   `json:"path_glob,omitempty"`
}
