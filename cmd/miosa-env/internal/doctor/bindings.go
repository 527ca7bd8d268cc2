package doctor

import (
	"fmt"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// environment checks the environment of this process, if there are no values to add to it.
func (d *doctor) environment() {
	built, err := environ.Environment{Inherited: d.Environ}.Build()
	if err != nil {
		d.failed("limits", err, "")
		return
	}
	d.limits(built, ", without any values")
}

// limits checks that the kernel accepts an environment.
func (d *doctor) limits(built environ.Built, without string) {
	if err := command.Preflight("/bin/sh", []string{"sh"}, built.Environ, built.Bound); err != nil {
		d.failed("limits", err, "")
		return
	}
	size := 0
	for _, entry := range built.Environ {
		size += len(entry) + 1
	}
	d.ok("limits", fmt.Sprintf("an environment of %d variables and %d bytes fits%s", len(built.Environ), size, without))
}

// bindings checks a set as run does.
func (d *doctor) bindings(s api.Snapshot) {
	built, err := environ.Environment{Inherited: d.Environ, Bound: s.Bound}.Build()
	if err != nil {
		d.failed("bindings", err, "")
		d.environment()
		return
	}
	d.limits(built, "")
	for _, w := range built.Warnings {
		fix := "bind it under another name, unless it is meant"
		if w.Kind == environ.WarnPlatform {
			fix = "nothing, where a proxy at the network's edge replaces what it holds; else use a vault with the agent API"
		}
		d.warn("bindings", w.String(), fix)
	}
	if len(s.Bound) == 0 {
		d.warn("bindings", "nothing is bound to "+s.Resource.String(), "bind a secret to "+s.Resource.String()+", or check the id")
		return
	}
	d.ok("bindings", strconv.Itoa(len(s.Bound)))
}
