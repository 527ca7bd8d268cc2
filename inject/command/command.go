// Package command finds, checks and starts a command, or replaces this process by it.
package command

import "github.com/Miosa-osa/miosa-env/api"

// Command is a command to run.
type Command struct {
	Path  string      // the file, as Lookup returns it
	Args  []string    // argv, including argv[0]
	Env   []string    // NAME=value, without duplicate names
	Bound []api.Label // the variables of Env that are bound, with final names: for logs of changes
	Mask  []api.Bound // what masked output must not show
}
