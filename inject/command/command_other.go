//go:build !linux

package command

import (
	"syscall"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/signal"
)

// Preflight returns nil: the kernel checks its limits.
func Preflight(string, []string, []string, []api.Bound) error { return nil }

// Replace replaces this process by the command. Of the signals that were ignored at the start, the command inherits HUP
// and INT, which Go's runtime leaves alone. It returns only if the kernel refuses, with a StartError.
func (c Command) Replace(*signal.Queue) error {
	return StartError(c.Path, syscall.Exec(c.Path, c.Args, c.Env))
}
