package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/limit"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/revocation"
)

// server is the command serve.
type server struct {
	*program
	store storeFlags
	logs  logFlags

	addr           string
	metricsAddr    string
	cert, key      string
	allowPlainHTTP bool
	limits         limit.Values
	stopTimeout    time.Duration
	oauthFile      string
	retention      string
	endedKeys      string
}

func (p *program) serve() *cli.Command {
	s := &server{program: p}
	return &cli.Command{
		Use:   "serve --data-dir DIR --root-key-file FILE [flags]",
		Short: "Serve the API from a data directory",
		Long: `Serve the API from a data directory until TERM or INT. Then it accepts no more connections, answers
waiting reveals at once, and gives running requests the stop timeout to finish.

HUP rereads the TLS certificate. Plain http is served only on loopback, unless --allow-plain-http
states that a proxy terminates TLS.

--oauth-file configures the OAuth providers at which users can connect accounts; docs/vault.md
describes it.

Limits keep one tenant from using up the vault; docs/vault.md explains them. Limits of requests,
changes and events, and tenant_oauth_rate, are per second; sizes are in bytes. The limits and their
defaults:

` + limitsHelp(),
		Flags: func(f *pflag.FlagSet) {
			s.store.add(f, creates)
			s.logs.add(f, "info")
			f.StringVar(&s.addr, "addr", "127.0.0.1:8200", "`HOST:PORT` where to listen")
			f.StringVar(&s.metricsAddr, "metrics-addr", "", "`HOST:PORT` where to serve /metrics, without TLS, instead of at --addr")
			f.StringVar(&s.cert, "tls-cert", "", "`FILE` PEM file with the certificate and its intermediates")
			f.StringVar(&s.key, "tls-key", "", "`FILE` PEM file with the certificate's key")
			f.BoolVar(&s.allowPlainHTTP, "allow-plain-http", false, "serve http without TLS on any address")
			f.Var(limitsFlag{&s.limits}, "limit", "`NAME=NUMBER` set a limit of the list above; repeatable; also MIOSA_VAULT_LIMITS, separated by spaces")
			f.DurationVar(&s.stopTimeout, "stop-timeout", 10*time.Second, "`DURATION` how long running requests may take to finish after TERM")
			f.StringVar(&s.retention, "audit-retention", defaultRetention,
				"`AGE,SIZE` how long, and how much of, each tenant's audit log is kept; either may be left out; off: everything")
			f.StringVar(&s.endedKeys, "ended-keys", defaultEndedKeys,
				"`AGE,NUMBER` how long, and how many, of each tenant's revoked and expired keys are kept; either may be left out; off: all")
			f.StringVar(&s.oauthFile, "oauth-file", "", oauthUsage)
		},
		Renamed: map[string]string{
			"rate":            "--limit key_requests=NUMBER",
			"burst":           "--limit key_burst=NUMBER",
			"max-connections": "--limit connections=NUMBER",
		},
		Run: s.run,
	}
}

// defaultRetention keeps a year's events, and a month more to export them.
const defaultRetention = "400d,10GB"

// defaultEndedKeys keeps keys as long as the events that they have caused.
const defaultEndedKeys = "400d,100000"

func (s *server) run(ctx context.Context, _ *cli.Invocation) (err error) {
	log, flush, err := s.logs.open(s.stderr)
	if err != nil {
		return err
	}
	defer flush()
	if err := s.check(); err != nil {
		return err
	}
	limits, err := s.limitsOf(s.getenv(limitsVariable))
	if err != nil {
		return err
	}
	inherited.OutliveReaders()
	// Before anything is open, so that a signal closes it.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	var reloading sync.WaitGroup
	defer func() {
		err = unlessStopped(ctx, err)
		stop()
		reloading.Wait()
	}()
	config, err := s.store.config(s.program, log)
	if err != nil {
		return err
	}
	if config.Retention, err = audit.ParseRetention(s.retention); err != nil {
		return usage("--audit-retention: "+err.Error(), "the default is "+defaultRetention)
	}
	if config.EndedKeys, err = revocation.ParseRetention(s.endedKeys); err != nil {
		return usage("--ended-keys: "+err.Error(), "the default is "+defaultEndedKeys)
	}
	providers, err := s.providers(s.oauthFile)
	if err != nil {
		return err
	}
	if err := s.checkPublicURL(providers); err != nil {
		return err
	}
	cert, err := loadCertificate(s.cert, s.key)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // until the process ends: HUP must not kill it while it stops
	reloading.Go(func() { cert.reloadOn(ctx, hup, log) })
	v, err := vault.Open(ctx, vault.Config{
		Store: config, Limits: limits,
		StopTimeout: s.stopTimeout, TLS: cert.tls(), OwnMetrics: s.metricsAddr != "", OAuth: providers,
	})
	if err != nil {
		return withStoreHint(err)
	}
	if v.Store().Created() { // a warning: the folder may be mistyped, or a volume not mounted
		log.Warn().Str("data_dir", s.store.dataDir).Msg("created a new vault")
	}
	stopMetrics, err := s.serveMetrics(ctx, v, log)
	if err != nil {
		return errors.Join(err, v.Close())
	}
	err = listenAndServe(ctx, v, s.addr, func(l net.Listener) error {
		log.Info().Stringer("addr", l.Addr()).Bool("tls", cert != nil).Str("version", version).Msg("serving")
		return nil
	})
	for _, end := range []func() error{stopMetrics, v.Close} {
		if ended := end(); err == nil {
			err = ended
		}
	}
	if err == nil {
		log.Info().Msg("stopped")
	}
	return err
}

// listenAndServe calls ready when it accepts connections.
func listenAndServe(ctx context.Context, v *vault.Vault, addr string, ready func(net.Listener) error) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return cli.WithHint(err, "choose another address with --addr; port 0 takes any that is free")
	}
	if err := ready(l); err != nil {
		_ = l.Close()
		return err
	}
	return v.Serve(ctx, l)
}

// unlessStopped returns nil if a signal has interrupted the start.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// checkPublicURL requires a public URL for OAuth, unless the vault listens on loopback.
func (s *server) checkPublicURL(providers *oauth.Providers) error {
	addr, err := net.ResolveTCPAddr("tcp", s.addr)
	if providers == nil || providers.PublicURL != "" || err == nil && addr.IP.IsLoopback() {
		return err
	}
	return cli.WithHint(errors.New(s.oauthFile+": public_url is required: providers send users' browsers there"),
		"add a line such as public_url = \"https://vault.example.com\"")
}

// check validates the flags.
func (s *server) check() error {
	if (s.cert == "") != (s.key == "") {
		return usage("--tls-cert and --tls-key go together", "give both, or neither on loopback")
	}
	if s.stopTimeout <= 0 {
		return usage("--stop-timeout must be more than 0", "leave it out for the default")
	}
	if err := s.checkMetrics(); err != nil {
		return err
	}
	addr, err := net.ResolveTCPAddr("tcp", s.addr)
	if err != nil {
		return usage("--addr can't be listened on: "+err.Error(), "give host:port, such as --addr 127.0.0.1:8200")
	}
	if s.cert == "" && !s.allowPlainHTTP && !addr.IP.IsLoopback() {
		return usage(fmt.Sprintf("refusing plain http on %s, which is not loopback", s.addr),
			"give --tls-cert and --tls-key, listen on 127.0.0.1, or, behind a proxy that ends TLS, --allow-plain-http")
	}
	return nil
}
