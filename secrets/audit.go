package secrets

import (
	"context"
	"iter"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// AuditFilter selects events by exact matches of Resource and Action, from Since (inclusive) to Until (exclusive), or
// relative to now by SinceAgo and UntilAgo ("7d"). Empty fields match everything. Limit is the size of a page, 1 to 1000;
// 0: 100. Cursor is from the page before.
type AuditFilter = fetch.AuditFilter

// Audit returns a page of events: the newest first, or with Since or SinceAgo the oldest first. next is the cursor of the
// next page, "" at the end.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (events []Event, next string, err error) {
	return c.vault.Audit(ctx, f)
}

// AuditEvent returns one event. Errors: api.ErrNotFound.
func (c *Client) AuditEvent(ctx context.Context, id string) (Event, error) {
	return c.vault.AuditEvent(ctx, id)
}

// AuditAll iterates over all events that match, from f.Cursor on, in the order of Audit, and requests pages of f.Limit
// events as needed. After an error, which comes with an empty Event, it ends.
func (c *Client) AuditAll(ctx context.Context, f AuditFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			events, next, err := c.vault.Audit(ctx, f)
			if err == nil && next != "" && next == f.Cursor {
				err = api.NewError(api.ErrInternal, "the vault's audit doesn't go on: it gives the same cursor again")
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			f.Cursor = next
		}
	}
}
