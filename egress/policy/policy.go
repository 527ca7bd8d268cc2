// Package policy decides which requests of a resource a broker passes on, whether or not they contain secrets. The policy and its
// rules come from the vault.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/internal/address"
)

// Policy is a compiled policy. It is immutable. The zero Policy denies everything.
type Policy struct {
	id        string
	auditOnly bool
	allow     bool                // hosts that no rule names
	hosts     map[string][]*entry // by name or address
	domains   map[string][]*entry // by ".example.com" of "*.example.com"
	networks  []*entry            // CIDRs
}

// entry is a compiled rule.
type entry struct {
	id      string
	index   int // in the policy's list
	deny    bool
	network netip.Prefix
	methods []string
	path    *rule.Path // nil: all
}

// Decision is what a policy says about a request.
type Decision struct {
	Effect   string // api.EffectAllow or api.EffectDeny: what to do
	Verdict  string // what an event records: api.EffectAllow, EffectDeny or EffectPending. In mode "audit_only" a denied request passes
	RuleID   string // of the rule that decided; "": none has
	PolicyID string
	Pending  bool // no rule names the host, and mode "enforce" would deny it
}

// Compile compiles a policy; nil is api.DefaultPolicy. Errors: a host, effect, mode or path that the vault would have refused.
func Compile(p *api.NetworkPolicy) (Policy, error) {
	if p == nil {
		p = new(api.DefaultPolicy())
	}
	compiled := Policy{id: p.PolicyID, auditOnly: p.Mode == api.ModeAuditOnly, allow: p.DefaultEffect == api.EffectAllow,
		hosts: map[string][]*entry{}, domains: map[string][]*entry{}}
	if !compiled.auditOnly && p.Mode != api.ModeEnforce {
		return Policy{}, fmt.Errorf("policy %q: unknown mode", p.PolicyID)
	}
	if !compiled.allow && p.DefaultEffect != api.EffectDeny {
		return Policy{}, fmt.Errorf("policy %q: unknown default effect", p.PolicyID)
	}
	for i := range p.Rules {
		if err := compiled.add(i, &p.Rules[i]); err != nil {
			return Policy{}, fmt.Errorf("rule %q: %w", p.Rules[i].ID, err)
		}
	}
	return compiled, nil
}

func (p *Policy) add(index int, from *api.NetworkRule) error {
	r := &entry{id: from.ID, index: index, deny: from.Effect == api.EffectDeny, methods: from.Methods}
	if !r.deny && from.Effect != api.EffectAllow {
		return errors.New("unknown effect")
	}
	if from.PathGlob != "" {
		path, err := rule.ParsePath(from.PathGlob)
		if err != nil {
			return err
		}
		r.path = &path
	}
	if strings.Contains(from.Host, "/") {
		network, err := netip.ParsePrefix(from.Host)
		if err != nil {
			return err
		}
		r.network = network.Masked()
		p.networks = append(p.networks, r)
		return nil
	}
	name, wild := strings.CutPrefix(from.Host, "*.")
	host, err := rule.Host(name)
	switch {
	case err != nil:
		return err
	case wild:
		p.domains["."+host] = append(p.domains["."+host], r)
	default:
		p.hosts[host] = append(p.hosts[host], r)
	}
	return nil
}

// Decide decides about a request. host is in the normal form of rule.Host, path as in the request line, without its query. Of
// rules that match, one that denies wins. A path that servers may read as another one matches no rule that allows, and every rule
// that denies.
func (p Policy) Decide(host, method, path string) Decision {
	var few [8]*entry
	named := p.named(few[:0], host)
	return p.decide(named, func(r *entry) bool { return r.matches(method, path) })
}

// DecideHost decides about a connection of which only the host is known. A rule for some methods or paths allows nothing then, and
// denies everything.
func (p Policy) DecideHost(host string) Decision {
	var few [8]*entry
	named := p.named(few[:0], host)
	return p.decide(named, func(r *entry) bool { return r.deny || !r.partial() })
}

// NeedsRequest reports whether the decision about a host depends on the method or path, so that its connections must be decrypted.
func (p Policy) NeedsRequest(host string) bool {
	var few [8]*entry
	return slices.ContainsFunc(p.named(few[:0], host), (*entry).partial)
}

// named appends the rules that name a host to list. Rules for an IPv4 address also apply to its forms in IPv6.
func (p Policy) named(list []*entry, host string) []*entry {
	list = append(list, p.hosts[host]...)
	if at, err := netip.ParseAddr(host); err == nil {
		to := address.Canonical(at)
		if to != at {
			list = append(list, p.hosts[to.String()]...)
		}
		for _, r := range p.networks {
			if r.network.Contains(at) || to != at && r.network.Contains(to) {
				list = append(list, r)
			}
		}
		return list
	}
	for i := 1; i < len(host); i++ {
		if host[i] == '.' {
			list = append(list, p.domains[host[i:]]...)
		}
	}
	return list
}

// decide decides by the rules among named that match: the first that denies, else the first that allows.
func (p Policy) decide(named []*entry, matches func(*entry) bool) Decision {
	d := Decision{PolicyID: p.id, Effect: api.EffectDeny}
	var first *entry
	for _, r := range named {
		if matches(r) && (first == nil || r.deny && !first.deny || r.deny == first.deny && r.index < first.index) {
			first = r
		}
	}
	if first != nil {
		d.RuleID = first.id
	}
	if first != nil && !first.deny || first == nil && p.allow {
		d.Effect = api.EffectAllow
	}
	d.Verdict = d.Effect
	if p.auditOnly {
		if d.Pending = len(named) == 0 && d.Effect == api.EffectDeny; d.Pending {
			d.Verdict = api.EffectPending
		}
		d.Effect = api.EffectAllow
	}
	return d
}

// partial reports whether the rule is for some methods or paths only.
func (r *entry) partial() bool { return len(r.methods) > 0 || r.path != nil }

func (r *entry) matches(method, path string) bool {
	if len(r.methods) > 0 && !slices.ContainsFunc(r.methods, func(m string) bool { return strings.EqualFold(m, method) }) {
		return false
	}
	switch {
	case r.path == nil:
		return true
	case r.deny:
		return r.path.MayMatch(path)
	}
	return r.path.Matches(path)
}
