//go:build !linux

package output

import (
	"errors"
	"runtime"

	"github.com/Miosa-osa/miosa-env/api"
)

// Output isn't supported: it needs Linux's ways to resolve paths without symlinks and to recognize file systems in memory.
type Output struct{ methods }

// methods are those on Linux. No Output is made that would need them.
type methods interface {
	Name() string
	Keep() bool
	Counts() (variables int, writes, hooks, failures int64)
	Close()
	Write(s api.Snapshot) error
	Check() (intact bool, err error)
	Remove() error
}

var errUnsupported = errors.New("outputs aren't written on " + runtime.GOOS)

// New returns an error: that of Config.Validate, or that outputs need Linux.
func New(c Config) (*Output, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return nil, errUnsupported
}

// Look returns an error.
func (c Config) Look() error { return errUnsupported }
