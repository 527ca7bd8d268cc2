package daemon

import (
	"context"
	"sync"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/socket"
)

// socketServer is the socket while it is served.
type socketServer struct {
	*socket.Server
	stop    context.CancelFunc
	serving sync.WaitGroup
}

// open takes the place that conf names and serves there, until it is closed.
func (g *generation) open(conf *daemonConfig) (*socketServer, error) {
	server, err := socket.Listen(socket.Config{Path: conf.Socket, Engine: g.agent, Allow: conf.peers, Log: g.Log})
	if err != nil {
		return nil, conf.Problem("socket", err)
	}
	d := &socketServer{Server: server}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	d.serving.Go(func() { server.Serve(ctx) })
	return d, nil
}

// restore listens again where somebody has removed the socket.
func (d *socketServer) restore(log zerolog.Logger) {
	switch restored, err := d.Restore(); {
	case err != nil:
		log.Error().Err(err).Msg("socket removed and cannot be recreated")
	case restored:
		log.Warn().Str("socket", d.Path()).Msg("socket removed: recreating it")
	}
}

func (d *socketServer) close() {
	d.stop()
	d.serving.Wait()
}

// metricsServer is the port for metrics while it is served.
type metricsServer struct {
	stop    context.CancelFunc
	serving sync.WaitGroup
}

// openMetrics serves metrics on the port that conf names. It gives nil where it names none.
func (g *generation) openMetrics(ctx context.Context, conf *daemonConfig, d *socketServer) (*metricsServer, error) {
	if conf.MetricsAddr == "" {
		return nil, nil
	}
	listener, err := socket.ListenMetrics(ctx, conf.MetricsAddr)
	if err != nil {
		return nil, conf.Problem("metrics_addr", err)
	}
	h := &metricsServer{}
	ctx, h.stop = context.WithCancel(ctx)
	h.serving.Go(func() { d.ServeMetrics(ctx, listener) })
	return h, nil
}

func (h *metricsServer) close() {
	if h != nil {
		h.stop()
		h.serving.Wait()
	}
}
