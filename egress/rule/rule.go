// Package rule decides where a broker may put the value of a secret: the hosts, ports, methods, paths and places of a
// request.
package rule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// Rules are the rules of one binding. A request must satisfy all of them. The zero Rules allow nothing.
type Rules struct{ list []compiled }

type compiled struct {
	source  api.EgressRule
	hosts   []string // normal forms
	domains []string // ".example.com" of "*.example.com"
	ports   []int
	paths   []Path
	slots   []Slot
}

// httpsPort is the port of rules that name none.
const httpsPort = 443

// Compile returns the rules of a binding. Errors: api.ErrInvalid, with the field.
func Compile(rules []api.EgressRule) (Rules, error) {
	var all Rules
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return Rules{}, err
		}
		c, err := compile(r)
		if err != nil {
			return Rules{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
		all.list = append(all.list, c)
	}
	return all, nil
}

func compile(r api.EgressRule) (compiled, error) {
	c := compiled{source: r, ports: r.Ports, slots: DefaultSlots}
	if len(c.ports) == 0 {
		c.ports = []int{httpsPort}
	}
	for _, text := range r.Hosts {
		name, domain := strings.CutPrefix(text, "*.")
		host, err := Host(name)
		switch {
		case err != nil:
			return compiled{}, fmt.Errorf("egress.hosts: %w", err)
		case domain:
			c.domains = append(c.domains, "."+host)
		default:
			c.hosts = append(c.hosts, host)
		}
	}
	for _, text := range r.Paths {
		path, err := ParsePath(text)
		if err != nil {
			return compiled{}, fmt.Errorf("egress.paths: %w", err)
		}
		c.paths = append(c.paths, path)
	}
	if len(r.Slots) > 0 {
		c.slots = nil
	}
	for _, text := range r.Slots {
		slot, err := ParseSlot(text)
		if err != nil {
			return compiled{}, fmt.Errorf("egress.slots: %w", err)
		}
		c.slots = append(c.slots, slot)
	}
	return c, nil
}

// Empty reports whether there are no rules, so that nothing may be swapped.
func (r Rules) Empty() bool { return len(r.list) == 0 }

// Host reports whether a value may be sent to a port of a host. host is a result of the function Host.
func (r Rules) Host(host string, port int) bool {
	return !r.Empty() && !slices.ContainsFunc(r.list, func(c compiled) bool { return !c.host(host) || !c.port(port) })
}

// Names reports whether the rules allow a port of a host, and one of them names exactly this host, not by a wildcard.
func (r Rules) Names(host string, port int) bool {
	return r.Host(host, port) && slices.ContainsFunc(r.list, func(c compiled) bool { return slices.Contains(c.hosts, host) })
}

// Request reports whether a value may be in a request with this method and path. path is as in the request: it starts
// with a slash, is percent-encoded, and has no query.
func (r Rules) Request(method, path string) bool {
	return !r.Empty() && !slices.ContainsFunc(r.list, func(c compiled) bool { return !c.method(method) || !c.path(path) })
}

// LimitsMethods reports whether a rule allows only some methods.
func (r Rules) LimitsMethods() bool {
	return slices.ContainsFunc(r.list, func(c compiled) bool { return len(c.source.Methods) > 0 })
}

// Allows reports whether a value may be at a place of a request.
func (r Rules) Allows(slot Slot) bool {
	return !r.Empty() && !slices.ContainsFunc(r.list, func(c compiled) bool { return !slices.Contains(c.slots, slot) })
}

// Slots are the places that the rules allow, in the order of the first rule.
func (r Rules) Slots() []Slot {
	if r.Empty() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.list[0].slots), func(s Slot) bool { return !r.Allows(s) })
}

// Denied returns the first restriction that a request doesn't satisfy, as it is written, such as
// "egress.hosts: api.github.com"; "" if there is none. The parameters are those of Host and Request.
func (r Rules) Denied(host string, port int, method, path string) string {
	for _, c := range r.list {
		switch {
		case !c.host(host):
			return "egress.hosts: " + strings.Join(c.source.Hosts, ", ")
		case !c.port(port):
			ports := make([]string, len(c.ports))
			for i, p := range c.ports {
				ports[i] = strconv.Itoa(p)
			}
			return "egress.ports: " + strings.Join(ports, ", ")
		case !c.method(method):
			return "egress.methods: " + strings.Join(c.source.Methods, ", ")
		case !c.path(path):
			return "egress.paths: " + strings.Join(c.source.Paths, ", ")
		}
	}
	if r.Empty() {
		return "egress: no rule"
	}
	return ""
}

func (c compiled) host(host string) bool {
	return slices.Contains(c.hosts, host) ||
		slices.ContainsFunc(c.domains, func(d string) bool { return strings.HasSuffix(host, d) })
}

func (c compiled) port(port int) bool { return slices.Contains(c.ports, port) }

func (c compiled) method(method string) bool {
	return len(c.source.Methods) == 0 || slices.Contains(c.source.Methods, method)
}

func (c compiled) path(path string) bool {
	return len(c.paths) == 0 || slices.ContainsFunc(c.paths, func(p Path) bool { return p.Matches(path) })
}
