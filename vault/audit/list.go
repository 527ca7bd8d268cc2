package audit

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Filter selects events; zero fields match everything.
type Filter struct {
	ResourceID          string     `query:"resource_id"`
	ResourceType        string     `query:"resource_type"`
	Action              string     `query:"action"`
	Host                string     `query:"host"`
	ExternalUserID      string     `query:"external_user_id"`
	ExternalWorkspaceID string     `query:"external_workspace_id"`
	SecretID            string     `query:"secret_id"` // also reveals that gave its value
	KeyID               string     `query:"key_id"`
	Since               *time.Time `query:"since"` // inclusive
	Until               *time.Time `query:"until"` // exclusive

	Limit   int    `query:"limit"`  // 1 to 1000; 0: 100
	Cursor  string `query:"cursor"` // from the page before
	GroupBy string `query:"group_by"`
}

// conditions returns the WHERE clause of a filter, without its times.
func (l *Log) conditions(f *Filter) Conditions {
	c := Conditions{slices.Clone(l.Only.Terms), slices.Clone(l.Only.Args)}
	c.add("a.tenant_id =", l.Tenant)
	for _, match := range []struct{ column, value string }{
		{"resource_id", f.ResourceID}, {"resource_type", f.ResourceType}, {"action", f.Action}, {"host", f.Host},
		{"external_user_id", f.ExternalUserID}, {"external_workspace_id", f.ExternalWorkspaceID}, {"key_id", f.KeyID},
	} {
		if match.value != "" {
			c.add("a."+match.column+" =", match.value)
		}
	}
	if f.SecretID != "" {
		escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.SecretID)
		c.Args = append(c.Args, f.SecretID, `%"`+escaped+`"%`)
		n := len(c.Args)
		c.Terms = append(c.Terms, "(a.secret_id = $"+strconv.Itoa(n-1)+" OR a.bindings LIKE $"+strconv.Itoa(n)+` ESCAPE '\')`)
	}
	// The partial indexes are used only where the query says what they omit.
	for _, partial := range []struct{ column, value string }{
		{"resource_id", f.ResourceID}, {"host", f.Host}, {"external_user_id", f.ExternalUserID}, {"external_workspace_id", f.ExternalWorkspaceID},
	} {
		if partial.value != "" {
			c.Terms = append(c.Terms, "a."+partial.column+" <> ''")
		}
	}
	return c
}

// List lists events: the newest first, or with Since the oldest first, so that a reader that follows the log misses
// nothing. next is the cursor of the next page, "" at the end. Errors: api.ErrInvalid.
func (l *Log) List(f Filter) (events []api.Event, next string, err error) {
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, "", invalid("limit must be 1 to 1000")
	}
	limit := cmp.Or(f.Limit, 100)
	c := l.conditions(&f)
	o := backward
	if f.Since != nil {
		o = forward
		c.add("a.at >=", f.Since.UnixMicro())
	}
	if f.Until != nil {
		c.add("a.at <", f.Until.UnixMicro())
	}
	if f.Cursor != "" {
		at, seq, err := int64(0), int64(0), error(nil)
		if o, at, seq, err = parseCursor(f.Cursor); err != nil {
			return nil, "", err
		}
		c.Args = append(c.Args, at, seq)
		n := len(c.Args)
		c.Terms = append(c.Terms, "(a.at, a.seq) "+o.after+" ($"+strconv.Itoa(n-1)+", $"+strconv.Itoa(n)+")")
	}
	rows, err := l.events(selectEvents+c.String()+` ORDER BY a.at`+o.order+`, a.seq`+o.order+` LIMIT `+strconv.Itoa(limit+1), c.Args...)
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		next = o.name + strconv.FormatInt(last.Timestamp.UnixMicro(), 36) + "." + strconv.FormatInt(last.seq, 36)
	}
	events = make([]api.Event, len(rows))
	for i := range rows {
		events[i] = rows[i].Event
	}
	return events, next, err
}

// HostGroup is how often a host occurs in the events of a filter.
type HostGroup struct {
	Host   string    `json:"host"`
	Count  int64     `json:"count"`
	LastAt time.Time `json:"last_at"`
}

// ByHost returns the hosts of a filter's events, the most frequent first, at most Limit. Events without a host are in no group.
// Errors: api.ErrInvalid.
func (l *Log) ByHost(f Filter) ([]HostGroup, error) {
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, invalid("limit must be 1 to 1000")
	}
	if f.Cursor != "" {
		return nil, invalid("cursor goes with no group_by: groups have no pages")
	}
	c := l.conditions(&f)
	c.Terms = append(c.Terms, "a.host <> ''")
	if f.Since != nil {
		c.add("a.at >=", f.Since.UnixMicro())
	}
	if f.Until != nil {
		c.add("a.at <", f.Until.UnixMicro())
	}
	rows, err := l.Tx.Query(`SELECT a.host, COUNT(*), MAX(a.at) FROM audit a`+c.String()+
		` GROUP BY a.host ORDER BY COUNT(*) DESC, a.host LIMIT `+strconv.Itoa(cmp.Or(f.Limit, 100)), c.Args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	groups := []HostGroup{}
	for rows.Next() {
		var g HostGroup
		var at int64
		if err := rows.Scan(&g.Host, &g.Count, &at); err != nil {
			return nil, err
		}
		g.LastAt = fromMicros(at)
		groups = append(groups, g)
	}
	return groups, rows.Err()
}

// Event returns one event. Errors: api.ErrNotFound.
func (l *Log) Event(id string) (api.Event, error) {
	c := l.conditions(&Filter{})
	c.add("a.id =", id)
	rows, err := l.events(selectEvents+c.String(), c.Args...)
	if err != nil {
		return api.Event{}, err
	}
	if len(rows) == 0 {
		return api.Event{}, api.NewError(api.ErrNotFound, "no such event")
	}
	return rows[0].Event, nil
}

// Conditions is a WHERE clause: all terms must hold.
type Conditions struct {
	Terms []string
	Args  []any // of the terms' $n
}

// add adds a comparison of an expression, such as "a.at >=", with arg.
func (c *Conditions) add(left string, arg any) {
	c.Args = append(c.Args, arg)
	c.Terms = append(c.Terms, left+" $"+strconv.Itoa(len(c.Args)))
}

func (c *Conditions) String() string { return " WHERE " + strings.Join(c.Terms, " AND ") }

// order is the order of a list. Its name, and the time and number of a page's last event, are the cursor of the next page.
type order struct{ name, after, order string }

var (
	forward  = order{"f", ">", ""}
	backward = order{"b", "<", " DESC"}
)

func parseCursor(text string) (o order, at, seq int64, err error) {
	first, second, ok := strings.Cut(text[1:], ".")
	at, err = strconv.ParseInt(first, 36, 64)
	seq, seqErr := strconv.ParseInt(second, 36, 64)
	for _, o := range []order{forward, backward} {
		if ok && err == nil && seqErr == nil && text[:1] == o.name {
			return o, at, seq, nil
		}
	}
	return order{}, 0, 0, errCursor
}

var errCursor = invalid("cursor is not one that this list gave")

func invalid(message string) *api.Error { return api.NewError(api.ErrInvalid, message) }
