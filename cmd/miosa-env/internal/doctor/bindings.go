package doctor

import (
	"fmt"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject"
)

// ownLimits checks our own environment, where the values aren't there to go with it.
func (d *doctor) ownLimits() {
	built, err := inject.Environment{Inherited: d.Environ}.Build()
	if err != nil {
		d.failed("limits", err, "")
		return
	}
	d.limits(built, ", without any values")
}

// limits reports whether the kernel would take an environment.
func (d *doctor) limits(built inject.Built, without string) {
	if err := inject.Preflight("/bin/sh", []string{"sh"}, built.Environ, built.Bound); err != nil {
		d.failed("limits", err, "")
		return
	}
	size := 0
	for _, entry := range built.Environ {
		size += len(entry) + 1
	}
	d.ok("limits", fmt.Sprintf("an environment of %d variables and %d bytes fits%s", len(built.Environ), size, without))
}

// bindings tells what run would say to them.
func (d *doctor) bindings(s api.Snapshot) {
	built, err := inject.Environment{Inherited: d.Environ, Bound: s.Bound}.Build()
	if err != nil {
		d.failed("bindings", err, "")
		d.ownLimits()
		return
	}
	d.limits(built, "")
	for _, w := range built.Warnings {
		if w.Kind == inject.WarnPlatform {
			d.warn("bindings", w.String(), "nothing, where a proxy at the network's edge replaces what it holds; else use a vault with the agent API")
			continue
		}
		d.warn("bindings", w.String(), "bind it under another name, unless it is meant")
	}
	switch len(s.Bound) {
	case 0:
		d.warn("bindings", "nothing is bound to "+s.Resource.String(), "bind a secret to "+s.Resource.String()+", or check the id")
	case 1:
		d.ok("bindings", "1")
	default:
		d.ok("bindings", fmt.Sprint(len(s.Bound)))
	}
}
