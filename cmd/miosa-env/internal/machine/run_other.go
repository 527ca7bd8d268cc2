//go:build !linux

package machine

import (
	"context"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
)

// Helper does nothing: without a supervisor there are no helpers.
func Helper([]string) (code int, ok bool) { return 0, false }

// start turns into the command. To stay with it takes Linux.
func (r *runner) start(ctx context.Context, f *runFlags) (int, error) {
	switch {
	case !f.onChange.Ignored():
		return 0, program.RequireLinux("run --on-change")
	case f.mask:
		return 0, program.RequireLinux("run --mask")
	case r.Settings.OnRevoke == config.RevokeStop:
		return 0, program.RequireLinux("run --on-revoke stop")
	case r.broker != nil:
		return 0, program.RequireLinux("run --egress")
	}
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	return 0, r.command.Replace(nil)
}

// keepPipes has nothing to do: env files are read once where nothing is followed.
func (r *runner) keepPipes() error { return nil }

// throughBroker has nothing to do: start has refused.
func (*runner) throughBroker(context.Context) error { return nil }
