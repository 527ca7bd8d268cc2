package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/notify"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/keyfile"
	"github.com/Miosa-osa/miosa-env/internal/logger"
	"github.com/Miosa-osa/miosa-env/internal/option"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

func (p *program) serve() *cli.Command {
	var check bool
	return &cli.Command{
		Use:   "serve [FLAG...]",
		Short: "Serve the listeners of the configuration",
		Long: `Serve the listeners of the configuration until TERM or INT. Then it accepts no more connections, gives
requests 5 seconds to finish, and takes at most 5 seconds to report the last ones.

Changes to the configuration, the key file and CA files take effect without a restart; HUP rereads
them too. An invalid configuration is refused with its line numbers, and the old one stays in effect.`,
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&check, "check", false, "validate the configuration and exit, like the command check")
			option.AddFlags(f, p.options, "serve")
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if check {
				return p.checkConfiguration(inv.Flags)
			}
			if err := p.begin(inv.Flags); err != nil {
				return err
			}
			return p.runBroker(ctx, inv.Flags)
		},
	}
}

func (p *program) check() *cli.Command {
	return &cli.Command{
		Use:   "check [FLAG...]",
		Short: "Validate the configuration",
		Flags: func(f *pflag.FlagSet) { option.AddFlags(f, p.options, "check") },
		Run:   func(_ context.Context, inv *cli.Invocation) error { return p.checkConfiguration(inv.Flags) },
	}
}

// checkConfiguration reports the problems that starting with the configuration would have.
func (p *program) checkConfiguration(f *pflag.FlagSet) error {
	if err := p.begin(f); err != nil {
		return err
	}
	s, err := p.load(f, true)
	if err == nil {
		err = s.checkAuthorities()
	}
	if err == nil {
		warnExposed(s.key, logger.New(p.stderr, "miosa-egress", s.LogLevel, s.LogFormat))
		_, err = fmt.Fprintf(p.stdout, "%s is fine: %s\n", s.file, s.summary())
	}
	return err
}

// runBroker runs a broker until a signal ends it, and returns when everything it started has ended.
func (p *program) runBroker(ctx context.Context, f *pflag.FlagSet) error {
	stdlog.SetOutput(io.Discard) // net/http logs what servers send, and that may be a value
	inherited.OutliveReaders()
	// Never stopped: TERM may come again while the process ends.
	ctx, _ = signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)
	s, err := p.load(f, false)
	if err != nil {
		return err
	}
	var tap logger.Tap
	tap.Set(p.stderr, "miosa-egress", s.LogLevel, s.LogFormat)
	lines := logger.NewQueue(&tap)
	defer lines.Flush()
	log := lines.Logger()
	warnExposed(s.key, log)
	manager := notify.New(p.getenv, log)
	defer manager.Close()
	if err := notify.ForgetManager(); err != nil {
		return err
	}
	changed := make(chan []string)
	watcher, err := watch.New(log)
	if err != nil {
		log.Warn().Err(err).Msg("files are not watched: send HUP after a change")
	} else {
		defer task.Start(ctx, func(ctx context.Context) {
			_ = watcher.Run(ctx, func(paths []string) {
				select {
				case changed <- paths:
				case <-ctx.Done():
				}
			})
		}).Close()
	}
	b := newBroker(log)
	defer b.close()
	if err := b.take(ctx, s); err != nil {
		return err
	}
	if watcher != nil {
		watcher.Set(s.watched())
	}
	log.Info().Int("listeners", len(s.Listeners)).Int("resources", len(s.resources)).Bool("cache", s.Cache).
		Str("version", version).Msg("broker started")
	poll := time.NewTicker(keyfile.Poll) // of a refused key's file, whose file system may not report changes
	defer poll.Stop()
	for {
		manager.Report(true, b.line())
		reload, told := false, false
		select {
		case <-ctx.Done():
			log.Info().Msg("broker stopping")
			manager.Stopping()
			return nil
		case err := <-b.failed:
			return err
		case <-manager.Tick():
			if b.alive() {
				manager.Alive()
			}
		case <-poll.C:
			reload = b.refused() && b.now.key.Differs(b.now.key.Key)
		case <-b.rekeyed:
			reload = true
		case <-hangups:
			b.restore()
			reload, told = true, true
		case paths := <-changed:
			b.restore()
			reload = slices.ContainsFunc(paths, func(path string) bool { return !b.now.isSocket(path) })
		}
		if !reload {
			continue
		}
		manager.Reloading()
		next, err := p.load(f, false)
		same := err == nil && next.equal(b.now)
		before := b.now.key
		if err == nil {
			err = b.take(ctx, next)
		}
		if err != nil {
			refuse(err, log)
			continue
		}
		tap.Set(p.stderr, "miosa-egress", next.LogLevel, next.LogFormat)
		if !before.Exposed || !before.Equal(next.key.Value) {
			warnExposed(next.key, log)
		}
		if told || !same { // the broker itself writes files next to those that it watches
			log.Info().Int("listeners", len(next.Listeners)).Msg("configuration reloaded")
		}
		if watcher != nil {
			watcher.Set(next.watched())
		}
	}
}

func warnExposed(key keyfile.Key, log zerolog.Logger) {
	if key.Exposed {
		log.Warn().Str("file", key.Where).Msg("key file is accessible to other users: chmod 600 it")
	}
}

// refuse logs each problem of a new configuration.
func refuse(err error, log zerolog.Logger) {
	for _, problem := range cli.Problems(err) {
		logger.Problem(log.Error(), problem).Msg("configuration invalid: keeping the previous one")
	}
}

// line is the status in one line, for the service manager.
func (b *broker) line() string {
	counts := map[agent.State]int{}
	resources := b.list()
	for _, r := range resources {
		counts[r.engine.Status().State]++
	}
	text := fmt.Sprintf("%d resources", len(resources))
	for _, state := range []agent.State{agent.Fresh, agent.Stale, agent.Starting, agent.Refused} {
		if n := counts[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return text
}
