package machine

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/logger"
)

// Helper runs this program as a helper of another process of it, if the arguments say so.
func Helper(args []string) (code int, ok bool) { return supervise.Helper(args) }

// start replaces this process by the command, or supervises the command and returns its exit code.
func (r *runner) start(ctx context.Context, f *runFlags) (int, error) {
	first := os.Getpid() == 1
	supervised := !f.replace && (first || f.mask || r.watches(f) || r.broker != nil)
	if !supervised && !first && inherited.Blocked() == 0 {
		inherited.ActAll()
		if err := r.prepare(ctx); err != nil {
			return 0, err
		}
		return 0, r.command.Replace(nil)
	}
	if r.broker != nil {
		r.files = r.broker.NewFiles()
		r.environment.Complete = r.files.Variables
		defer r.files.Close()
	}
	// From here on no signal is lost: signals that process 1 doesn't catch have no effect, and blocked signals must be
	// pending for the command when it starts.
	signals, err := signal.Catch()
	if err != nil {
		return 0, err
	}
	if err := signals.Until(ctx, func(ctx context.Context) error { return program.InBackground(ctx, r.prepare) }); err != nil {
		if by, ok := errors.AsType[signal.Interrupted](err); ok {
			r.files.Close()
			cli.Report(r.Stderr, "miosa-env", err)
			command.ExitBy(by.Signal).Die()
			return by.ExitCode(), nil
		}
		return 0, err
	}
	if !supervised {
		return 0, r.command.Replace(signals)
	}
	return r.supervise(ctx, f, signals)
}

func (r *runner) supervise(ctx context.Context, f *runFlags, signals *signal.Queue) (int, error) {
	var tap logger.Tap
	tap.Set(r.Stderr, "miosa-env", r.Settings.LogLevel, r.Settings.LogFormat)
	lines := logger.NewQueue(&tap)
	r.Log = lines.Logger()
	exit, err := r.stay(ctx, f, signals)
	r.files.Close()
	lines.Flush()
	exit.Die()
	return exit.Code, err
}

// stay supervises the command until it ends.
func (r *runner) stay(ctx context.Context, f *runFlags, signals *signal.Queue) (command.Exit, error) {
	s := supervise.Supervision{
		OnChange: f.onChange, StopSignal: f.stopSignal,
		StopTimeout: max(f.stopTimeout, 1), // 0 would be the default
		Settle:      f.settle, Outlive: f.outlive, Masked: f.mask, Log: r.Log,
	}
	if f.outlive {
		if err := r.files.Outlive(); err != nil {
			return command.Exit{}, err
		}
	}
	if !r.watches(f) && !r.defersToAgent() {
		r.supply.Close()
		return s.Run(ctx, signals, r.command, nil)
	}
	ctx, end := context.WithCancel(ctx) // of the command
	defer end()
	following, stop := context.WithCancel(ctx)
	changes := make(chan command.Command)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if r.follow(following, f, changes) == config.RevokeStop {
			end()
		}
	}()
	exit, err := s.Run(ctx, signals, r.command, changes)
	stop()
	if r.supply.cache != nil { // which may be being written
		select {
		case <-ended:
		case <-time.After(time.Second): // reading an env file again may hang
		}
	}
	return exit, err
}

// watches reports whether changes or a revocation affect the command.
func (r *runner) watches(f *runFlags) bool {
	return !f.onChange.Ignored() || r.Settings.OnRevoke == config.RevokeStop
}

// defersToAgent reports whether the agent decides what a revocation does to the command. Its decision may change later.
func (r *runner) defersToAgent() bool {
	return r.Settings.OnRevoke == "" && r.supply.local != nil && r.supply.remote == nil
}

// throughBroker asks the broker for what its clients must trust.
func (r *runner) throughBroker(ctx context.Context) error {
	found, err := r.broker.Ask(ctx)
	if err != nil {
		return err
	}
	if err := found.CheckResource(r.broker, resourceText(r.supply.resource)); err != nil {
		return err // it has none of the command's values
	}
	r.files.Trust(found)
	if found.NoSet {
		r.Log.Warn().Str("broker", r.broker.Address()).Msg("broker has no values of its resource: refusing requests")
	}
	return nil
}
