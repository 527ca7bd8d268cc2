package audit

import (
	"cmp"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/query"
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

// selection is a query of events: from an index that has all that it may select, in the order of time, and how to tell those
// that it selects.
type selection struct {
	from  string           // a table as a, and the index as i
	where query.Conditions // of rows of the index
	match string           // an expression; "1 = 1": all rows
}

// selection returns the query of a filter.
func (l *Log) selection(f *Filter) selection {
	c := query.Conditions{Args: slices.Clone(l.Only.Args)}
	match := query.Conditions{Terms: slices.Clone(l.Only.Terms)}
	s := selection{from: "audit i"}
	c.Add("i.tenant_id =", l.Tenant)
	indexed := f.SecretID != ""
	if indexed {
		s.from = "audit_secrets i"
		c.Add("i.secret_id =", f.SecretID)
	}
	for _, filter := range []struct{ column, value string }{ // those that select the fewest events first
		{"resource_id", f.ResourceID}, {"host", f.Host}, {"external_user_id", f.ExternalUserID}, {"key_id", f.KeyID},
		{"external_workspace_id", f.ExternalWorkspaceID}, {"action", f.Action}, {"resource_type", f.ResourceType},
	} {
		switch {
		case filter.value == "":
		case indexed || filter.column == "resource_type":
			c.Args = append(c.Args, filter.value)
			match.Terms = append(match.Terms, "a."+filter.column+" = $"+strconv.Itoa(len(c.Args)))
		default:
			indexed = true
			c.Add("i."+filter.column+" =", filter.value)
			if filter.column != "key_id" && filter.column != "action" {
				c.Terms = append(c.Terms, "i."+filter.column+" <> ''") // as the index says
			}
		}
	}
	if f.Since != nil {
		c.Add("i.at >=", f.Since.UnixMicro())
	}
	if f.Until != nil {
		c.Add("i.at <", f.Until.UnixMicro())
	}
	s.where, s.match = c, strings.Join(match.Terms, " AND ")
	if s.match == "" {
		s.match = "1 = 1" // PostgreSQL has booleans
	}
	return s
}

// maxExamined is how many events of an index one page examines. A filter that selects few of them takes several pages, so that
// no request keeps the database for long.
const maxExamined = 10_000

// PageBytes is about how many bytes of events a page of a filter has at most.
func (f *Filter) PageBytes() int64 {
	const each = 4 << 10 // most list few bindings
	return min(maxRead, int64(f.limit())*each)
}

func (f *Filter) limit() int { return cmp.Or(f.Limit, 100) }

// List lists events: the newest first, or with Since the oldest first, so that a reader that follows the log misses
// nothing. next is the cursor of the next page, "" at the end. A page may be short, or empty, though there is a next one.
// Errors: api.ErrInvalid.
func (l *Log) List(f Filter) (events []api.Event, next string, err error) {
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, "", invalid("limit must be 1 to 1000")
	}
	limit, most := f.limit(), f.PageBytes()
	o := backward
	if f.Since != nil {
		o = forward
	}
	s := l.selection(&f)
	if f.Cursor != "" {
		at, seq, err := int64(0), int64(0), error(nil)
		if o, at, seq, err = parseCursor(f.Cursor); err != nil {
			return nil, "", err
		}
		s.where.Args = append(s.where.Args, at, seq)
		n := len(s.where.Args)
		s.where.Terms = append(s.where.Terms, "(i.at, i.seq) "+o.after+" ($"+strconv.Itoa(n-1)+", $"+strconv.Itoa(n)+")")
	}
	events = []api.Event{}
	var last eventRow
	examined, size := 0, int64(0)
	err = l.eachEvent(selectColumns+s.match+` FROM `+s.from+` JOIN audit a ON a.seq = i.seq AND a.tenant_id = i.tenant_id`+joinRepeats+s.where.String()+
		` ORDER BY i.at`+o.order+`, i.seq`+o.order+` LIMIT `+strconv.Itoa(maxExamined+1), s.where.Args, func(r *eventRow) bool {
		if examined == maxExamined || r.match && (len(events) == limit || size >= most) {
			next = o.name + strconv.FormatInt(last.Timestamp.UnixMicro(), 36) + "." + strconv.FormatInt(last.seq, 36)
			return false
		}
		examined++
		if last = *r; r.match {
			events = append(events, r.Event)
			size += sizeOf(&r.Event)
		}
		return true
	})
	return events, next, err
}

// HostGroup is how often a host occurs in the events of a filter.
type HostGroup struct {
	Host   string    `json:"host"`
	Count  int64     `json:"count"`
	LastAt time.Time `json:"last_at"`
}

// ByHost returns the hosts of a filter's events, the most frequent first, at most Limit. Events without a host are in no group.
// It examines the newest maxExamined events of an index; partial reports whether there are more. Errors: api.ErrInvalid.
func (l *Log) ByHost(f Filter) (groups []HostGroup, partial bool, err error) {
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, false, invalid("limit must be 1 to 1000")
	}
	if f.Cursor != "" {
		return nil, false, invalid("cursor goes with no group_by: groups have no pages")
	}
	s := l.selection(&f)
	found := map[string]*HostGroup{}
	examined := 0
	err = l.eachRow(`SELECT a.host, a.at, CASE WHEN `+s.match+` THEN 1 ELSE 0 END FROM `+s.from+` JOIN audit a ON a.seq = i.seq AND a.tenant_id = i.tenant_id`+
		s.where.String()+` ORDER BY i.at DESC, i.seq DESC LIMIT `+strconv.Itoa(maxExamined+1), s.where.Args, func(rows *sql.Rows) error {
		var host string
		var at, match int64
		if err := rows.Scan(&host, &at, &match); err != nil {
			return err
		}
		if examined++; examined > maxExamined || match == 0 || host == "" {
			return nil
		}
		g := found[host]
		if g == nil { // its newest event
			g = &HostGroup{Host: host, LastAt: fromMicros(at)}
			found[host] = g
		}
		g.Count++
		return nil
	})
	groups = make([]HostGroup, 0, len(found))
	for _, g := range found {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b HostGroup) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Host, b.Host)) })
	return groups[:min(len(groups), f.limit())], examined > maxExamined, err
}

// Event returns one event. Errors: api.ErrNotFound.
func (l *Log) Event(id string) (api.Event, error) {
	c := l.Only.Clone()
	c.Add("a.tenant_id =", l.Tenant)
	c.Add("a.id =", id)
	rows, err := l.events(selectEvents+c.String(), c.Args...)
	if err != nil {
		return api.Event{}, err
	}
	if len(rows) == 0 {
		return api.Event{}, api.NewError(api.ErrNotFound, "no such event")
	}
	return rows[0].Event, nil
}

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
