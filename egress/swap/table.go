// Package swap replaces placeholders in requests by the values that they stand for, and signs requests with them.
//
// A placeholder is swapped only in the places of a request that the rules of its binding allow. If it is anywhere else
// in the URL or the headers, or the rules don't allow the request, the request is refused. In a body it is text, unless
// a rule names a field of the body.
package swap

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/egress/scrub"
	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// prefix begins placeholders: requests are refused that have one which isn't in the table, such as another resource's.
const prefix = api.PlaceholderPrefix

// unknownTail is the least number of letters and digits after the prefix of an unknown placeholder. Shorter text only mentions
// placeholders, as documents do.
const unknownTail = 8

// Table holds the placeholders of one set. It may be used concurrently.
type Table struct {
	bindings []binding
	finder   *mask.Finder // of the placeholders, in the order of bindings, then of prefix

	// Bindings with slots for which a request's body or signature must be read.
	fields, aws, webhooks []int

	reading atomic.Int64 // bytes of bodies that are read, until they are sent

	mu        sync.Mutex
	scrubbers map[string]*scrub.Scrubber // by indices of bindings
}

// maxScrubbers limits how many scrubbers a table keeps. Most requests have one binding or two.
const maxScrubbers = 64

type binding struct {
	label api.Label
	value api.Value
	rules rule.Rules
	slots []rule.Slot // that the rules allow
	// invalid is set if the rules can't be used: nothing is swapped then, as without rules.
	invalid bool
}

// New returns the table of a set: of the bindings that have a placeholder. A binding with rules that this version doesn't
// understand is refused wherever it occurs. Errors: a placeholder that is too short, or that two bindings have.
func New(s api.Snapshot) (*Table, error) {
	t := &Table{scrubbers: map[string]*scrub.Scrubber{}}
	var texts []string
	for _, b := range s.Bound {
		if b.Egress == nil {
			continue
		}
		placeholder := b.Egress.Placeholder
		switch {
		case len(placeholder) < mask.MinLength || placeholder == prefix:
			return nil, fmt.Errorf("binding %s: the placeholder is too short", b.ID)
		case slices.Contains(texts, placeholder):
			return nil, fmt.Errorf("binding %s: another binding has the same placeholder", b.ID)
		}
		rules, err := rule.Compile(b.Egress.Rules)
		i := len(t.bindings)
		slots := rules.Slots()
		for _, slot := range slots {
			switch slot.Kind {
			case rule.JSON, rule.Form:
				t.fields = append(t.fields, i)
			case rule.SigV4:
				t.aws = append(t.aws, i)
			case rule.HMAC:
				t.webhooks = append(t.webhooks, i)
			}
		}
		texts = append(texts, placeholder)
		t.bindings = append(t.bindings, binding{label: b.Label, value: b.Value, rules: rules, slots: slots, invalid: err != nil})
	}
	t.fields, t.webhooks = slices.Compact(t.fields), slices.Compact(t.webhooks)
	t.finder = mask.NewFinder(append(texts, prefix))
	return t, nil
}

// Has reports whether the set has a placeholder of a binding.
func (t *Table) Has(id string) bool {
	return slices.ContainsFunc(t.bindings, func(b binding) bool { return b.label.ID == id })
}

// Swapped lists the bindings whose values were put into a request.
type Swapped struct {
	Bindings []api.Label
	Values   []api.Value // in the same order
	table    *Table
	key      string // of the table's scrubbers
}

// Scrubber returns a scrubber of the values for the response, or nil if no value was swapped. The table keeps it for
// requests with the same bindings, since making one takes much longer than a request.
func (s Swapped) Scrubber() *scrub.Scrubber {
	if len(s.Values) == 0 {
		return nil
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	kept := s.table.scrubbers
	if kept[s.key] == nil {
		if len(kept) >= maxScrubbers {
			clear(kept)
		}
		kept[s.key] = scrub.New(s.Values)
	}
	return kept[s.key]
}

// Refusal is the error of a request that isn't sent. It has no value and no placeholder.
type Refusal struct {
	Reason  string `json:"reason"`
	Binding string `json:"binding,omitempty"` // its id; "": unknown
	Name    string `json:"name,omitempty"`    // the variable of the binding
	Rule    string `json:"rule,omitempty"`    // that refuses, such as "egress.hosts: api.github.com"
	Busy    bool   `json:"busy,omitempty"`    // the same request may be sent later
}

func (e *Refusal) Error() string {
	text := "the request is refused: " + e.Reason
	if e.Binding != "" {
		text = fmt.Sprintf("binding %s (%s): %s", e.Binding, e.Name, text)
	}
	if e.Rule != "" {
		text += " (" + e.Rule + ")"
	}
	return text
}
