package main

import (
	"context"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
)

// againAfter is how long a vault or an agent that refuses is left alone, if nothing has changed.
const againAfter = 30 * time.Second

// refreshed waits until it is worth while to ask again after a refusal: when the key's file holds another key, or
// after againAfter.
func (s *supply) refreshed(ctx context.Context) {
	end, look := time.NewTimer(againAfter), time.NewTicker(keyPoll)
	defer end.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-look.C:
		}
		if s.remote != nil && s.settings.differs(s.vault.key, s.vault.Key()) {
			return
		}
		if s.client == nil {
			continue
		}
		status, err := s.client.Status(ctx)
		if err == nil && s.servedBy(status) && (status.State == agent.Fresh || status.State == agent.Stale) {
			return
		}
	}
}

// servedBy reports whether an agent serves the resource and the vault that are meant.
func (s *supply) servedBy(status agent.Status) bool {
	return status.Resource == s.resource && otherVault(status, s.named) == nil
}

// recovers reports whether what the vault refuses may be given again: by an agent that gets another key, or with
// another one in the key's file.
func (s *supply) recovers() bool {
	return s.client != nil || s.remote != nil && !s.vault.key.changed.IsZero()
}
