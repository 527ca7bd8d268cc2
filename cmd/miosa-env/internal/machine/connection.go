package machine

import (
	"context"
	"errors"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/inherited"
)

// connection is the vault, as one resource sees it.
type connection struct {
	*fetch.Client
	resource api.Resource
	key      program.FoundKey
}

// connect reads the key, makes a client of the vault and begins to connect. While that is under way it
// takes the key out of this process's own arguments and environment.
func connect(p *program.Program) (connection, error) {
	inherited.EndByFaults()
	found, keyErr := p.Settings.Key()
	if found.Exposed {
		p.Log.Warn().Str("file", found.Where).Msg("key file is accessible to other users: chmod 600 it")
	}
	resource, err := p.Settings.Resource()
	if err := errors.Join(keyErr, err); err != nil {
		return connection{}, err
	}
	client, err := fetch.New(p.Settings.Config(p, found))
	if err == nil {
		client.Connect()
	}
	if err := inject.Scrub(found.Key); err != nil {
		p.Log.Warn().Err(err).Msg("key remains visible in this process's environment or arguments")
	}
	return connection{client, resource, found}, err
}

// Values gives the values of the resource that is meant, as they are now.
func Values(ctx context.Context, p *program.Program) (api.Snapshot, error) {
	s, err := newSupply(ctx, p)
	if err != nil {
		return api.Snapshot{}, err
	}
	defer s.Close()
	return s.first(ctx)
}
