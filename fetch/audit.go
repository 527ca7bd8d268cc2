package fetch

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// AuditFilter selects audit events by exact matches. Empty fields match all.
type AuditFilter struct {
	Resource api.Resource
	Action   string // such as secret.rotate or reveal
	KeyID    string // that was used
	SecretID string // also of reveals that gave its value
	Host     string // of outgoing requests

	ExternalUserID, ExternalWorkspaceID string

	Since, Until *time.Time // Since is inclusive, Until exclusive

	SinceAgo, UntilAgo string // used if Since or Until is nil: a time before now, such as 7d
	Limit              int    // events in one response, 1 to 1,000; zero: the vault's default, 100
	Cursor             string // from the previous response
}

func (f AuditFilter) query() url.Values {
	q := query("resource_type", f.Resource.Type, "resource_id", f.Resource.ID, "action", f.Action,
		"key_id", f.KeyID, "secret_id", f.SecretID, "host", f.Host, "external_user_id", f.ExternalUserID,
		"external_workspace_id", f.ExternalWorkspaceID,
		"since", cmp.Or(moment(f.Since), f.SinceAgo), "until", cmp.Or(moment(f.Until), f.UntilAgo))
	return paged(q, f.Limit, f.Cursor)
}

// Audit lists events: the newest first, or with Since or SinceAgo the oldest first. next is the Cursor for the next
// response, "" at the end.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (events []api.Event, next string, err error) {
	k := call{method: http.MethodGet, path: "/egress/audit", query: f.query()}
	events, next, err = getPage[api.Event](ctx, c, k, "events", "audit")
	return slices.DeleteFunc(events, func(e api.Event) bool {
		return !f.matches(&e)
	}), next, err
}

// matches reports whether an event is one that the filter selects. A vault may ignore filters that it doesn't know.
func (f *AuditFilter) matches(e *api.Event) bool {
	for _, pair := range [][2]string{{f.Resource.Type, e.ResourceType}, {f.Resource.ID, e.ResourceID}, {f.Action, e.Action}, {f.KeyID, e.KeyID},
		{f.Host, e.Host}, {f.ExternalUserID, e.ExternalUserID}, {f.ExternalWorkspaceID, e.ExternalWorkspaceID}} {
		if !matches(pair[0], pair[1]) {
			return false
		}
	}
	return matches(f.SecretID, e.SecretID) || slices.ContainsFunc(e.Bindings, func(b api.EventRef) bool { return b.SecretID == f.SecretID })
}

// AuditEvent returns one event.
func (c *Client) AuditEvent(ctx context.Context, id string) (api.Event, error) {
	return do(ctx, c, call{method: http.MethodGet, path: object("/egress/audit/", id)}, one[api.Event]("event"))
}

// moment formats a time for a query; nil is "".
func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// paged adds to a query which part of a list to return: all of it if both are zero.
func paged(q url.Values, limit int, cursor string) url.Values {
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}
