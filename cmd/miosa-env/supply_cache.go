package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// answer is what the vault said.
type answer struct {
	set api.Snapshot
	err error
}

// cached asks the vault, and gives the cache's set where that doesn't answer soon. What it answers, if it
// does, is kept in the cache; a refusal wipes it.
func (s *supply) cached(ctx context.Context) (api.Snapshot, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan answer, 1)
	go func() {
		set, err := s.remote.Next(asking, "")
		answered <- answer{set, err}
	}()
	soon := time.NewTimer(patience)
	defer soon.Stop()
	select {
	case a := <-answered:
		return s.settle(a)
	case <-soon.C:
	}
	set, err := s.fromCache(nil)
	if err != nil {
		return s.settle(<-answered)
	}
	cancel()
	a := <-answered // the source is for one goroutine
	if a.err == nil {
		set.Wipe()
		return s.settle(a)
	}
	return set, nil
}

// settle takes the vault's word, and the cache where that is neither yes nor no.
func (s *supply) settle(a answer) (api.Snapshot, error) {
	if s.note(a.set, a.err) {
		return a.set, a.err
	}
	set, err := s.fromCache(a.err)
	if err != nil {
		return api.Snapshot{}, a.err
	}
	return set, nil
}

// note does to the cache what an answer means for it, and reports whether it means anything.
func (s *supply) note(set api.Snapshot, err error) bool {
	switch {
	case err == nil:
		if s.remote.Placeholders() { // of which nothing need be kept
			return true
		}
		var err error
		if key := s.vault.Key(); !key.Equal(s.vault.key.Value) { // read again since
			s.vault.key.Key = key
			err = s.openCache()
		}
		if err == nil {
			err = s.cache.Save(set, time.Now())
		}
		if err != nil {
			s.log.Warn().Err(err).Msg("the cache isn't up to date")
		}
		return true
	case errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		if err := s.cache.Wipe(); err != nil {
			s.log.Error().Err(err).Msg("the cache can't be removed")
		}
		return true
	}
	return false
}

// fromCache gives the cached set and says so, with what the vault's error was if it has come to one.
func (s *supply) fromCache(why error) (api.Snapshot, error) {
	if s.spoiled {
		return api.Snapshot{}, fs.ErrNotExist
	}
	set, at, err := s.cache.Load()
	s.spoiled = err != nil
	switch {
	case err == nil:
		s.log.Warn().Err(why).Stringer("age", max(0, time.Since(at)).Round(time.Second)).Msg("the vault doesn't answer: starting from the cache")
	case !errors.Is(err, fs.ErrNotExist):
		s.log.Warn().Err(err).Msg("the cache can't be used")
	}
	return set, err
}
