package secrets

import (
	"context"
	"iter"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// AuditFilter narrows the audit to exact matches of Resource and Action, from Since (included) until
// Until (not included), or as long ago as SinceAgo and UntilAgo say (7d); empty fields match all. Limit is how many events an answer holds, 1 to 1,000,
// zero for the vault's own 100; Cursor is from the answer before.
type AuditFilter = fetch.AuditFilter

// Audit gives one answer's worth of events: the newest first, or with Since or SinceAgo the oldest first. next is
// the Cursor of the answer that follows, "" at the end.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (events []Event, next string, err error) {
	return c.vault.Audit(ctx, f)
}

// AuditEvent gives one event. Errors: api.ErrNotFound.
func (c *Client) AuditEvent(ctx context.Context, id string) (Event, error) {
	return c.vault.AuditEvent(ctx, id)
}

// AuditAll goes over all events that match, from f.Cursor on, in the order of Audit. It asks for
// f.Limit at a time, as the loop gets to them. An error comes last, with an empty Event.
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
