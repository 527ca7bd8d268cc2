//go:build !linux

package inject

import (
	"fmt"
	"runtime"

	"github.com/Miosa-osa/miosa-env/api"
)

// Output isn't written here: what makes it safe, paths that lead through no symlink and file systems that
// are known to be in memory, is asked of Linux.
type Output struct{ conf OutputConfig }

// NewOutput always refuses. Errors: those of OutputConfig.Validate, else that it takes Linux.
func NewOutput(c OutputConfig) (*Output, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return nil, noOutputs()
}

func noOutputs() error { return fmt.Errorf("outputs aren't written on %s", runtime.GOOS) }

// Look refuses as NewOutput does.
func (c OutputConfig) Look() error { return noOutputs() }

// Name is the output's path.
func (o *Output) Name() string { return o.conf.Path }

// Keep tells whether the output stays when the daemon stops.
func (o *Output) Keep() bool { return o.conf.Keep }

// Counts has nothing to count.
func (o *Output) Counts() (variables int, writes, hooks, failures int64) { return 0, 0, 0, 0 }

// Close does nothing.
func (o *Output) Close() {}

// Write refuses.
func (o *Output) Write(api.Snapshot) error { return noOutputs() }

// Check refuses.
func (o *Output) Check() (intact bool, err error) { return false, noOutputs() }

// Remove refuses.
func (o *Output) Remove() error { return noOutputs() }
