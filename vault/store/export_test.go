package store

import (
	"context"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// unlimited are limits that no test reaches.
var unlimited = limit.Values{limit.TenantWrites: 1e6, limit.Writes: 1e6, limit.TenantEvents: 1e6, limit.Events: 1e6,
	limit.TenantTraffic: 1e6, limit.Traffic: 1e6}

// opened is the set that Reveal seals.
func (s *Store) opened(ctx context.Context, a Actor, r api.Resource) ([]api.Bound, error) {
	opener, err := api.NewOpener(r)
	if err != nil {
		return nil, err
	}
	to, err := api.NewSealer(r, opener.Recipient())
	if err != nil {
		return nil, err
	}
	answer, err := s.Reveal(ctx, a, r, to, func(context.Context, int64) error { return nil })
	if err != nil {
		return nil, err
	}
	set, err := opener.Open(answer)
	return set.Bound, err
}
