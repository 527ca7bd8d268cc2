//go:build !linux

package main

import (
	"context"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/inject"
)

func helper([]string) (code int, ok bool) { return 0, false }

// start turns into the command. To stay with it takes Linux.
func (r *runner) start(ctx context.Context, f *runFlags) (int, error) {
	switch {
	case !f.onChange.Ignored():
		return 0, needsLinux("run --on-change")
	case f.mask:
		return 0, needsLinux("run --mask")
	case f.onRevoke.value == config.RevokeStop:
		return 0, needsLinux("run --on-revoke stop")
	}
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	return 0, inject.Replace(r.command, nil)
}

// keepPipes has nothing to do: env files are read once where nothing is followed.
func (r *runner) keepPipes() error { return nil }
