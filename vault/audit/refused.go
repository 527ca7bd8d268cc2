package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// Refusal is a use of a key that isn't valid.
type Refusal struct {
	Tenant  string // "": unknown
	KeyID   string // "": unknown
	Reason  string // Revoked, Expired or Unknown
	Address string // "": several
}

// The reasons of a Refusal.
const (
	Revoked = "revoked"
	Expired = "expired"
	Unknown = "unknown"
)

// maxRefusals is how many different refusals are counted at the same time. What comes after them is counted without its
// address, and then without its key.
const maxRefusals = 1024

// Refusals counts uses of invalid keys until they are written to the log. It is safe for concurrent use, and its memory is
// bounded: clients choose their keys, and may have many addresses.
type Refusals struct {
	mu     sync.Mutex // guards counts
	counts map[Refusal]int64
}

// Add counts a refusal.
func (r *Refusals) Add(f Refusal) {
	f.Address = origin(f.Address)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[Refusal]int64{}
	}
	for _, general := range []Refusal{f, {f.Tenant, f.KeyID, f.Reason, ""}} {
		if _, counted := r.counts[general]; counted || len(r.counts) < maxRefusals {
			r.counts[general]++
			return
		}
	}
	r.counts[Refusal{Reason: f.Reason}]++
}

// refusalInterval is how long uses of invalid keys are counted in memory.
const refusalInterval = 5 * time.Second

// Run writes the counts to the logs until ctx ends.
func (r *Refusals) Run(ctx context.Context, logs *Logs) {
	for ctx.Err() == nil {
		_ = delay.Sleep(ctx, refusalInterval) // its error is ctx's
		if err := r.Write(context.WithoutCancel(ctx), logs); err != nil {
			logs.Log.Error().Err(err).Msg("refused keys not audited")
		}
	}
}

// Write writes the counts to the logs.
func (r *Refusals) Write(ctx context.Context, logs *Logs) error {
	r.mu.Lock()
	counts := r.counts
	r.counts = nil
	r.mu.Unlock()
	byTenant := map[string][]Refusal{}
	for f := range counts {
		byTenant[f.Tenant] = append(byTenant[f.Tenant], f)
	}
	var problems []error
	for tenant, refusals := range byTenant {
		problems = append(problems, logs.Write(ctx, tenant, func(l *Log) error {
			for _, f := range refusals {
				e := api.Event{Action: actKeyRefused, Outcome: api.OutcomeDenied, KeyID: f.KeyID, RemoteAddr: f.Address, Detail: f.Reason}
				if err := l.Repeat(&e, counts[f]); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(problems...)
}
