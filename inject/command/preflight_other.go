//go:build !linux

package command

import "github.com/Miosa-osa/miosa-env/api"

// Preflight returns nil: the kernel checks its limits.
func Preflight(string, []string, []string, []api.Bound) error { return nil }
