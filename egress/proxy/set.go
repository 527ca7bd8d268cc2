package proxy

import (
	"errors"
	"net/http"
	"slices"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/policy"
	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/egress/swap"
)

// Set is what a proxy needs to know of its resource at one time. It is immutable.
type Set struct {
	table  *swap.Table
	rules  []rule.Rules // of each binding
	policy policy.Policy
	named  map[string]bool // hosts that the policy allows by name
	none   string          // why there is no set
}

// NoSet stands for the set while nothing is known of the resource: the policy, and where values may be sent. All requests and
// connections are refused, with why as the message.
func NoSet(why string) *Set { return &Set{none: why} }

// Absent returns why there is no set, "" if there is one.
func (s *Set) Absent() string { return s.none }

// absent is the refusal if there is no set.
func (s *Set) absent() *Refusal {
	if s.none == "" {
		return nil
	}
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonNoSet, Message: s.none}
}

// NewSet compiles the set of a broker key. Errors: those of swap.New and policy.Compile.
func NewSet(snapshot api.Snapshot) (*Set, error) {
	table, err := swap.New(snapshot)
	if err != nil {
		return nil, err
	}
	compiled, err := policy.Compile(snapshot.Policy)
	if err != nil {
		return nil, err
	}
	s := &Set{table: table, policy: compiled, named: map[string]bool{}}
	for _, b := range snapshot.Bound {
		if b.Egress == nil {
			continue
		}
		rules, err := rule.Compile(b.Egress.Rules)
		if err != nil {
			continue // package swap refuses its placeholder
		}
		s.rules = append(s.rules, rules)
	}
	if snapshot.Policy != nil {
		for _, r := range snapshot.Policy.Rules {
			// Wildcards and networks are no host's normal form.
			if host, err := rule.Host(r.Host); err == nil && r.Effect == api.EffectAllow {
				s.named[host] = true
			}
		}
	}
	return s, nil
}

// names reports whether a rule for the port, or an entry of the policy, names exactly this host.
func (s *Set) names(to destination) bool {
	return s.named[to.host] || slices.ContainsFunc(s.rules, func(r rule.Rules) bool { return r.Names(to.host, to.port) })
}

// decrypts reports whether connections to a destination are decrypted: if a value may be sent there, or the policy is about
// its methods or paths.
func (s *Set) decrypts(to destination) bool {
	return slices.ContainsFunc(s.rules, func(r rule.Rules) bool { return r.Host(to.host, to.port) }) || s.policy.NeedsRequest(to.host)
}

// swap puts values into a request. Errors: *Refusal; those of reading the body.
func (s *Set) swap(r *http.Request, to destination) (swap.Swapped, error) {
	if why := s.absent(); why != nil {
		return swap.Swapped{}, why
	}
	swapped, err := s.table.Request(r, to.host, to.port)
	if refused, ok := errors.AsType[*swap.Refusal](err); ok {
		if refused.Busy {
			return swap.Swapped{}, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Message: refused.Error(), Binding: refused.Name}
		}
		return swap.Swapped{}, &Refusal{Reason: reasonPlaceholder, Message: refused.Error(), Binding: refused.Name, Rule: refused.Rule}
	}
	return swapped, err
}
