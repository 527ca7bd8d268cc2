//go:build !linux

package inject

import "github.com/Miosa-osa/miosa-env/api"

// Preflight leaves the verdict to the kernel on systems whose limits we haven't measured.
func Preflight(string, []string, []string, []api.Bound) error { return nil }
