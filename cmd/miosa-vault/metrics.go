package main

import (
	"context"
	"fmt"
	"net"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/vault"
)

// checkMetrics validates --metrics-addr, where the metrics are served without TLS.
func (s *server) checkMetrics() error {
	if s.metricsAddr == "" {
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", s.metricsAddr)
	if err != nil {
		return usage("--metrics-addr can't be listened on: "+err.Error(), "give host:port, such as --metrics-addr 127.0.0.1:8201")
	}
	if !s.allowPlainHTTP && !addr.IP.IsLoopback() {
		return usage(fmt.Sprintf("refusing plain http for metrics on %s, which is not loopback", s.metricsAddr),
			"listen on 127.0.0.1, or give --allow-plain-http")
	}
	return nil
}

// serveMetrics serves the metrics at --metrics-addr, if it is set, until stop is called.
func (s *server) serveMetrics(ctx context.Context, v *vault.Vault, log zerolog.Logger) (stop func() error, err error) {
	if s.metricsAddr == "" {
		return func() error { return nil }, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.metricsAddr)
	if err != nil {
		return nil, cli.WithHint(err, "choose another address with --metrics-addr; port 0 takes any that is free")
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- v.ServeMetrics(ctx, l) }()
	log.Info().Stringer("addr", l.Addr()).Msg("serving metrics")
	return func() error { cancel(); return <-ended }, nil
}
