package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// NetworkPolicy says which hosts the requests of a resource may be sent to. The sets of broker keys have it.
type NetworkPolicy struct {
	Mode          string        `json:"mode"`                // ModeAuditOnly or ModeEnforce
	DefaultEffect string        `json:"default_effect"`      // of hosts that no rule names: EffectAllow or EffectDeny
	PolicyID      string        `json:"policy_id,omitempty"` // "": nobody has set a policy
	Rules         []NetworkRule `json:"rules"`               // the entries of the allowlist that apply to the resource
}

// NetworkRule is an entry of the allowlist.
type NetworkRule struct {
	ID       string   `json:"id"`
	Host     string   `json:"host"`                // a name, "*.example.com" for its subdomains, an IP address, or a CIDR for literal addresses
	Effect   string   `json:"effect"`              // EffectAllow or EffectDeny; a rule that denies wins
	Methods  []string `json:"methods,omitempty"`   // in upper case; none: all
	PathGlob string   `json:"path_glob,omitempty"` // "*" matches within a segment, "**" any text; "": all
}

// The modes of a policy.
const (
	ModeAuditOnly = "audit_only" // requests are recorded, and none is refused
	ModeEnforce   = "enforce"
)

// The effects of rules, policies and traffic.
const (
	EffectAllow   = "allow"
	EffectDeny    = "deny"
	EffectPending = "pending" // of traffic: no rule names the host, and mode "enforce" would deny it
)

// DefaultPolicy is the policy of resources for which nobody has set one.
func DefaultPolicy() NetworkPolicy {
	return NetworkPolicy{Mode: ModeAuditOnly, DefaultEffect: EffectDeny, Rules: []NetworkRule{}}
}

// Matches reports whether the rule names a host, which is in its normal form: a name in lower case or a literal address.
func (r *NetworkRule) Matches(host string) bool {
	if suffix, ok := strings.CutPrefix(r.Host, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	if strings.Contains(r.Host, "/") {
		at, err := netip.ParseAddr(host)
		in, prefixErr := netip.ParsePrefix(r.Host)
		return err == nil && prefixErr == nil && in.Contains(at.Unmap())
	}
	return host == r.Host
}

// Policy is how requests of a resource are treated, or of all resources that have no policy of their own: the tenant's default.
type Policy struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Description   string    `json:"description"`
	Mode          string    `json:"mode"`
	DefaultEffect string    `json:"default_effect"`
	ResourceType  *string   `json:"resource_type"` // nil: the tenant's default
	ResourceID    *string   `json:"resource_id"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// PolicyRequest is the body of POST and PATCH /egress/policies. Of a new policy, an empty Mode is ModeEnforce, and an empty
// DefaultEffect EffectDeny; a change leaves what is nil as it is.
type PolicyRequest struct {
	Resource              // zero: the tenant's default
	Name          *string `json:"name"`
	Description   *string `json:"description"`
	Mode          *string `json:"mode"`
	DefaultEffect *string `json:"default_effect"`
}

// Validate returns an error that names an invalid field. Errors: ErrInvalid.
func (p *PolicyRequest) Validate() error {
	if p.Resource != (Resource{}) {
		if err := p.Resource.Validate(); err != nil {
			return err
		}
	}
	for _, field := range []struct {
		text     *string
		name     string
		one, two string
	}{{p.Mode, "mode", ModeAuditOnly, ModeEnforce}, {p.DefaultEffect, "default_effect", EffectAllow, EffectDeny}} {
		if field.text != nil && *field.text != field.one && *field.text != field.two {
			return NewError(ErrInvalid, field.name+" must be "+field.one+" or "+field.two)
		}
	}
	return nil
}

// AllowlistEntry is a rule of a tenant: for one resource, for those of one policy, or for all.
type AllowlistEntry struct {
	ID           string    `json:"id"`
	Host         string    `json:"host"`
	Effect       string    `json:"effect"`
	Methods      []string  `json:"methods"` // empty: all
	PathGlob     *string   `json:"path_glob"`
	PolicyID     *string   `json:"policy_id"` // nil: whatever the policy
	ResourceType *string   `json:"resource_type"`
	ResourceID   *string   `json:"resource_id"` // nil: all resources
	Note         *string   `json:"note"`
	CreatedAt    time.Time `json:"created_at"`
}

// NewAllowlistEntry is the body of POST /egress/allowlist. Host is required.
type NewAllowlistEntry struct {
	Resource          // zero: all resources
	Host     string   `json:"host"`
	Effect   string   `json:"effect"` // "": EffectAllow
	Methods  []string `json:"methods"`
	PathGlob string   `json:"path_glob"`
	PolicyID string   `json:"policy_id"`
	Note     string   `json:"note"`
}

// Complete brings the fields into their normal form, sets the defaults, and checks them. Errors: ErrInvalid, naming the field.
func (e *NewAllowlistEntry) Complete() (err error) {
	if e.Effect == "" {
		e.Effect = EffectAllow
	}
	if e.Effect != EffectAllow && e.Effect != EffectDeny {
		return NewError(ErrInvalid, "effect must be allow or deny")
	}
	if e.Host, err = ruleHost(e.Host); err != nil {
		return err
	}
	if len(e.Methods) > maxEgressList {
		return NewError(ErrInvalid, fmt.Sprintf("methods has more than %d items", maxEgressList))
	}
	methods := make([]string, len(e.Methods))
	for i, m := range e.Methods {
		if methods[i] = strings.ToUpper(m); len(m) > maxEgressText || !egressMethod(methods[i]) {
			return NewError(ErrInvalid, "methods may have methods such as GET")
		}
	}
	slices.Sort(methods)
	e.Methods = slices.Compact(methods)
	if e.PathGlob != "" && (len(e.PathGlob) > maxPathGlob || !ValidEgressPath(e.PathGlob)) {
		return NewError(ErrInvalid, "path_glob must be a path such as /repos/**, without ?, # or space; * matches within a segment, ** any text")
	}
	if len(compact(NetworkRule{Host: e.Host, Effect: e.Effect, Methods: e.Methods, PathGlob: e.PathGlob})) > maxNetworkRule {
		return NewError(ErrInvalid, fmt.Sprintf("host, methods and path_glob have more than %d bytes together: split the entry", maxNetworkRule))
	}
	if e.Resource != (Resource{}) {
		return e.Resource.Validate()
	}
	return nil
}

// Limits of an entry, in bytes. A broker's set has room for a thousand of them.
const (
	maxPathGlob    = 512
	maxNetworkRule = 960 // in JSON, without its id
)

// ruleHost returns the normal form of an entry's host.
func ruleHost(host string) (string, error) {
	h := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), ".")
	h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
	switch {
	case h == "":
		return "", NewError(ErrInvalid, "host is required: a name such as api.example.com, *.example.com, an IP address, or a CIDR such as 192.0.2.0/24")
	case h == "*":
		return "", NewError(ErrInvalid, "host must name hosts: what applies to all others is the default_effect of a policy")
	case strings.Contains(h, "://"):
		return "", NewError(ErrInvalid, "host must be a name without a scheme, such as api.example.com")
	}
	if at, err := netip.ParseAddr(h); err == nil && at.Zone() == "" {
		return at.Unmap().String(), nil
	}
	if in, err := netip.ParsePrefix(h); err == nil {
		if in.Addr().Is4In6() {
			return "", NewError(ErrInvalid, "host must be an IPv4 CIDR without ::ffff:")
		}
		return in.Masked().String(), nil
	}
	if len(h) > maxEgressText || !egressHost(h) {
		return "", NewError(ErrInvalid, "host must be a name such as api.example.com, *.example.com for its subdomains, an IP address, or a CIDR, "+
			"without a port or path; write other alphabets as xn--")
	}
	return h, nil
}

// Suggestion is a host that requests were sent to, and that no rule names.
type Suggestion struct {
	Host         string    `json:"host"`
	Methods      []string  `json:"methods"`
	ResourceType string    `json:"resource_type"`
	ResourceID   string    `json:"resource_id"`
	Reason       string    `json:"reason"`       // EffectPending or EffectDeny: what the policy made of the last request
	Count        int64     `json:"count"`        // of requests
	DeniedCount  int64     `json:"denied_count"` // of those, refused
	FirstSeen    time.Time `json:"first_seen"`
	LastSeen     time.Time `json:"last_seen"`
}
