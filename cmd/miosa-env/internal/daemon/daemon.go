package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/memory"
	"github.com/Miosa-osa/miosa-env/agent/notify"
	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// daemon is miosa-env agent, from its start to its end.
type daemon struct {
	*program.Program
	at    configFile
	flags *pflag.FlagSet
	tap   program.LogTap

	watcher *watch.Watcher // nil: the system has nothing to watch with
	changed chan []string  // paths, from the watcher
	hangups chan os.Signal
	rekeyed chan struct{}    // told that the vault refused the key and its file holds another one
	manager *notify.Notifier // nil: nobody wants to be told
}

func newDaemon(p *program.Program, at configFile, flags *pflag.FlagSet) *daemon {
	return &daemon{Program: p, at: at, flags: flags, changed: make(chan []string), hangups: make(chan os.Signal, 1), rekeyed: make(chan struct{}, 1)}
}

// run returns when it was told to end and everything it started has ended.
func (d *daemon) run(ctx context.Context) error {
	inherited.EndByFaults()
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop() // further signals change nothing: container engines may send TERM twice
	signal.Notify(d.hangups, unix.SIGHUP)
	defer signal.Stop(d.hangups)
	conf, err := loadDaemon(d.Program, d.at, d.flags, false)
	if err != nil {
		return err
	}
	d.tap.Set(d.Stderr, conf.LogLevel, conf.LogFormat)
	d.Log = d.tap.Logger()
	d.hide(conf)
	d.manager = notify.New(d.Environ.Get, d.Log)
	defer d.manager.Close()
	if err := notify.ForgetManager(); err != nil {
		return err
	}

	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.watcher, err = watch.New(d.Log); err != nil {
		d.Log.Warn().Err(err).Msg("files are not watched: send HUP after a change")
	} else {
		watching.Go(func() { _ = d.watcher.Run(ctx, d.tell(ctx)) })
	}
	for conf != nil && ctx.Err() == nil {
		g := &generation{daemon: d, conf: conf}
		if conf, err = g.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hide keeps the key and the values from who may look at this process from outside.
func (d *daemon) hide(conf *daemonConfig) {
	err := errors.Join(environ.Scrub(conf.key.Key), memory.Harden())
	if err != nil {
		d.Log.Warn().Err(err).Msg("process cannot be hidden from others of its user")
	}
	if conf.key.Exposed {
		d.Log.Warn().Str("file", conf.key.Where).Msg("key file is accessible to other users: chmod 600 it")
	}
}

func (d *daemon) tell(ctx context.Context) func([]string) {
	return func(paths []string) {
		select {
		case d.changed <- paths:
		case <-ctx.Done():
		}
	}
}

// config is how a configuration's vault is asked. Another key that is found once the vault refuses the one it names
// is used at once; for what else hangs on the key, such as the cache, the configuration is read anew.
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

// reload reads the configuration anew. It gives nil where there is a mistake in it, which is logged.
func (d *daemon) reload() *daemonConfig {
	conf, err := loadDaemon(d.Program, d.at, d.flags, false)
	if err != nil {
		d.refuse(err)
		return nil
	}
	return conf
}

// refuse logs why a new configuration isn't taken, each problem by itself.
func (d *daemon) refuse(err error) {
	for _, problem := range cli.Problems(err) {
		event := d.Log.Error()
		if hint := cli.Hint(problem); hint != "" {
			event = event.Str("hint", cli.OneLine(hint))
		}
		if at, ok := errors.AsType[*config.Error](problem); ok {
			event = event.Str("file", at.File).Int("line", at.Line)
			problem = at.Err
		}
		event.Err(problem).Msg("configuration invalid: keeping the previous one")
	}
}
