package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/agent/notify"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/internal/logger"
	"github.com/Miosa-osa/miosa-env/internal/orphan"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// daemon is one run of miosa-env agent.
type daemon struct {
	*program.Program
	at    configFile
	flags *pflag.FlagSet
	tap   logger.Tap

	watcher *watch.Watcher // nil: files can't be watched
	changed chan []string  // paths, from the watcher
	hangups chan os.Signal
	rekeyed chan struct{}    // receives when a client has replaced a refused key by another one from its file
	manager *notify.Notifier // nil: there is no service manager
	orphans *orphan.Reaper
}

func newDaemon(p *program.Program, at configFile, flags *pflag.FlagSet) *daemon {
	return &daemon{Program: p, at: at, flags: flags, changed: make(chan []string), hangups: make(chan os.Signal, 1), rekeyed: make(chan struct{}, 1), orphans: orphan.New()}
}

// run runs until a signal ends it, and returns when everything it started has ended.
func (d *daemon) run(ctx context.Context) error {
	inherited.EndByFaults()
	inherited.OutliveReaders()
	// Never stopped: container engines may send TERM again, even while the process ends.
	ctx, _ = signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	signal.Notify(d.hangups, unix.SIGHUP)
	defer signal.Stop(d.hangups)
	conf, err := loadDaemon(d.Program, d.at, d.flags, false)
	if err != nil {
		return err
	}
	d.tap.Set(d.Stderr, "miosa-env", conf.LogLevel, conf.LogFormat)
	lines := logger.NewQueue(&d.tap)
	defer lines.Flush()
	d.Log = lines.Logger()
	d.hide(conf)
	d.manager = notify.New(d.Environ.Get, d.Log)
	defer d.manager.Close()
	if err := notify.ForgetManager(); err != nil {
		return err
	}

	defer task.Start(ctx, d.orphans.Run).Close()
	if d.watcher, err = watch.New(d.Log); err != nil {
		d.Log.Warn().Err(err).Msg("files are not watched: send HUP after a change")
	} else {
		watching := task.Start(ctx, func(ctx context.Context) {
			_ = d.watcher.Run(ctx, func(paths []string) {
				select {
				case d.changed <- paths:
				case <-ctx.Done():
				}
			})
		})
		defer watching.Close()
	}
	for conf != nil && ctx.Err() == nil {
		if conf, err = (&generation{daemon: d}).run(ctx, conf); err != nil {
			return err
		}
	}
	return nil
}

// hide protects the key and the values from other processes of the same user.
func (d *daemon) hide(conf *daemonConfig) {
	err := errors.Join(environ.Scrub(conf.key.Key), memory.Harden())
	if err != nil {
		d.Log.Warn().Err(err).Msg("process cannot be hidden from others of its user")
	}
	d.WarnExposed(conf.key)
}

// config returns the configuration of a client. If the client replaces a refused key by another one from its file, the
// daemon reloads its configuration for whatever else depends on the key, such as the cache.
func (d *daemon) config(conf *daemonConfig) fetch.Config {
	c := conf.ClientConfig(d.Program, conf.key)
	if reread := c.Reread; reread != nil {
		c.Reread = func(ctx context.Context, refused api.Key) (api.Key, error) {
			key, err := reread(ctx, refused)
			if err == nil && !key.Equal(refused.Value) {
				select {
				case d.rekeyed <- struct{}{}:
				default:
				}
			}
			return key, err
		}
	}
	return c
}

// reload reads the configuration again. If that is invalid, it logs the problems and returns nil.
func (d *daemon) reload() *daemonConfig {
	d.manager.Reloading()
	conf, err := loadDaemon(d.Program, d.at, d.flags, false)
	if err != nil {
		d.refuse(err)
		return nil
	}
	return conf
}

// refuse logs each problem of a new configuration.
func (d *daemon) refuse(err error) {
	for _, problem := range cli.Problems(err) {
		logger.Problem(d.Log.Error(), problem).Msg("configuration invalid: keeping the previous one")
	}
}
