//go:build !linux

package output

import (
	"errors"
	"runtime"

	"github.com/Miosa-osa/miosa-env/api"
)

// Output isn't supported: it needs Linux's ways to resolve paths without symlinks and to recognize file systems in memory.
type Output struct{ conf Config }

// New returns an error: that of Config.Validate, or that outputs need Linux.
func New(c Config) (*Output, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

func unsupported() error { return errors.New("outputs aren't written on " + runtime.GOOS) }

// Look returns an error.
func (c Config) Look() error { return unsupported() }

// Name returns the output's path.
func (o *Output) Name() string { return o.conf.Path }

// Keep reports whether the output stays when the daemon stops.
func (o *Output) Keep() bool { return o.conf.Keep }

// Counts returns zeros.
func (o *Output) Counts() (variables int, writes, hooks, failures int64) { return 0, 0, 0, 0 }

// Close does nothing.
func (o *Output) Close() {}

// Write returns an error.
func (o *Output) Write(api.Snapshot) error { return unsupported() }

// Check returns an error.
func (o *Output) Check() (intact bool, err error) { return false, unsupported() }

// Remove returns an error.
func (o *Output) Remove() error { return unsupported() }
