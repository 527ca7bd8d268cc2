package daemon

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/credential"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// socketServer is a server of a Unix socket.
type socketServer interface {
	Serve(context.Context)
	Restore() (bool, error)
	Path() string
}

// served is a server that runs.
type served[S socketServer] struct {
	server S
	*task.Task
}

func serve[S socketServer](server S) *served[S] {
	return &served[S]{server, task.Start(context.Background(), server.Serve)}
}

// restore creates the socket again if it was removed.
func (s *served[S]) restore(log zerolog.Logger) {
	if s == nil {
		return
	}
	listener.Restore(s.server, log)
}

func (s *served[S]) close() {
	if s != nil {
		s.Task.Close()
	}
}

// listen serves the socket of a configuration.
func (g *generation) listen(conf *daemonConfig) (*served[*socket.Server], error) {
	server, err := socket.Listen(socket.Config{Path: conf.Socket, Engine: g.agent, Allow: conf.peers, Log: g.Log})
	if err != nil {
		return nil, conf.Problem("socket", err)
	}
	return serve(server), nil
}

// listenCredentials serves the socket for credentials, with the present server if its path is the same. It returns nil if no
// unit may have credentials.
func (g *generation) listenCredentials(conf *daemonConfig) (*served[*credential.Server], error) {
	path := credential.Path(conf.Socket)
	switch {
	case len(conf.Units) == 0:
		return nil, nil
	case g.credentials != nil && g.credentials.server.Path() == path:
		return g.credentials, nil
	}
	server, err := credential.Listen(credential.Config{Path: path, Engine: g.agent, Units: conf.Units, Log: g.Log})
	if err != nil {
		return nil, conf.Problem("socket", err)
	}
	return serve(server), nil
}

// listenMetrics serves the metrics of a socket on the port of a configuration. It returns nil if there is none.
func (g *generation) listenMetrics(ctx context.Context, conf *daemonConfig, s *served[*socket.Server]) (*task.Task, error) {
	if conf.MetricsAddr == "" {
		return nil, nil
	}
	l, err := socket.ListenMetrics(ctx, conf.MetricsAddr)
	if err != nil {
		return nil, conf.Problem("metrics_addr", err)
	}
	return task.Start(ctx, func(ctx context.Context) { s.server.ServeMetrics(ctx, l) }), nil
}
