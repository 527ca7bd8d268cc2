package daemon

import (
	"context"
	"sync"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/credential"
)

// credentialServer is the socket for credentials while it is served.
type credentialServer struct {
	*credential.Server
	stop    context.CancelFunc
	serving sync.WaitGroup
}

// renewCredentials gives the server that conf wants: the one there is, another, or nil, where no unit may have anything.
func (g *generation) renewCredentials(conf *daemonConfig) (*credentialServer, error) {
	path := credential.Path(conf.Socket)
	switch {
	case len(conf.Units) == 0:
		return nil, nil
	case g.credentials != nil && g.credentials.Path() == path:
		return g.credentials, nil
	}
	served, err := credential.Listen(credential.Config{Path: path, Engine: g.agent, Units: conf.Units, Log: g.Log})
	if err != nil {
		return nil, conf.Problem("socket", err)
	}
	d := &credentialServer{Server: served}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	d.serving.Go(func() { served.Serve(ctx) })
	return d, nil
}

// restore listens again where somebody has removed the socket.
func (d *credentialServer) restore(log zerolog.Logger) {
	if d == nil {
		return
	}
	switch restored, err := d.Restore(); {
	case err != nil:
		log.Error().Err(err).Msg("socket removed and cannot be recreated")
	case restored:
		log.Warn().Str("socket", d.Path()).Msg("socket removed: recreating it")
	}
}

func (d *credentialServer) close() {
	if d != nil {
		d.stop()
		d.serving.Wait()
	}
}
