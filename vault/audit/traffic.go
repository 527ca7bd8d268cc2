package audit

import (
	"cmp"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// trafficEvent is the event of a report. Its id follows from the report's, so that a report that is sent again is known.
func (l *Log) trafficEvent(r *api.TrafficEvent) api.Event {
	sum := sha256.Sum256(api.Frame("miosa-vault traffic", l.Tenant, r.ID))
	id := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
	e := api.Event{
		ID: "evt_" + id, Outcome: api.OutcomeOK, ResourceType: r.Type, ResourceID: r.Resource.ID, Bindings: slices.Clone(r.Swapped), Detail: r.Reason,
		Action: map[string]string{api.EffectAllow: actTrafficAllow, api.EffectDeny: actTrafficDeny, api.EffectPending: actTrafficPending}[r.Effect],
	}
	if r.Refused {
		e.Outcome = api.OutcomeDenied
	}
	e.Host, e.Method, e.Path, e.StatusCode, e.Effect, e.PolicyID, e.RuleID = r.Host, r.Method, r.Path, r.StatusCode, r.Effect, r.PolicyID, r.RuleID
	e.OccurredAt = new(fromMicros(r.OccurredAt.UnixMicro()))
	return e
}

// transformsOf returns the secrets whose placeholders were replaced in a request; nil: none.
func transformsOf(swapped []api.EventRef) *api.Transforms {
	if len(swapped) == 0 {
		return nil
	}
	t := &api.Transforms{}
	for _, b := range swapped {
		if b.SecretID != "" {
			t.Secrets.Swapped = append(t.Secrets.Swapped, b.SecretID)
		}
	}
	if t.Secrets.Swapped == nil {
		return nil
	}
	return t
}

// UsedBinding is a binding that the key of a report reveals, with its secret's external user and workspace. Without a SecretID it
// exists, and the key doesn't reveal it.
type UsedBinding struct {
	api.Resource
	SecretID, ExternalUserID, ExternalWorkspaceID string
}

// otherBinding is in the detail of a report that named a binding of another resource.
const otherBinding = "named a binding of another resource, which was left out"

// verifyUse removes from an event what the vault can't confirm: bindings of other resources, and secrets that their bindings don't
// have now. It sets the external user and workspace. bindings are those that exist, by id.
func verifyUse(e *api.Event, bindings map[string]UsedBinding) {
	refs := e.Bindings
	e.Bindings = nil
	for _, ref := range refs {
		b, exists := bindings[ref.ID]
		if exists && b.Resource != (api.Resource{Type: e.ResourceType, ID: e.ResourceID}) {
			if !strings.Contains(e.Detail, otherBinding) {
				e.Detail = strings.TrimPrefix(e.Detail+"; "+otherBinding, "; ")
			}
			continue
		}
		if b.SecretID == ref.SecretID {
			e.ExternalUserID, e.ExternalWorkspaceID = cmp.Or(e.ExternalUserID, b.ExternalUserID), cmp.Or(e.ExternalWorkspaceID, b.ExternalWorkspaceID)
		} else {
			ref.SecretID = ""
		}
		e.Bindings = append(e.Bindings, ref)
	}
}

// AppendTraffic adds events of reported requests, except those that were added before, and returns how many it has added. from has
// the reporter's key, address and request id. used returns those of the given bindings that exist, by id.
func (l *Log) AppendTraffic(from api.Event, reports []api.TrafficEvent, used func(bindings []string) (map[string]UsedBinding, error)) (added int, err error) {
	events := make([]api.Event, 0, len(reports))
	var ids, bindings []string
	for i := range reports {
		e := l.trafficEvent(&reports[i])
		e.KeyID, e.RemoteAddr, e.RequestID = from.KeyID, from.RemoteAddr, from.RequestID
		if slices.Contains(ids, e.ID) {
			continue
		}
		events, ids = append(events, e), append(ids, e.ID)
		for _, b := range e.Bindings {
			bindings = append(bindings, b.ID)
		}
	}
	known, err := l.known(ids)
	if err != nil || len(known) == len(events) {
		return 0, err
	}
	slices.Sort(bindings)
	exist := map[string]UsedBinding{}
	if bindings = slices.Compact(bindings); len(bindings) > 0 {
		if exist, err = used(bindings); err != nil {
			return 0, err
		}
	}
	var fresh []*api.Event
	for i := range events {
		e := &events[i]
		if _, ok := known[e.ID]; ok {
			continue
		}
		verifyUse(e, exist)
		fresh = append(fresh, e)
	}
	return len(fresh), l.appendAll(fresh)
}

// known returns the ids among those given that events of the tenant have.
func (l *Log) known(ids []string) (map[string]struct{}, error) {
	var c query.Conditions
	c.Add("tenant_id =", l.Tenant)
	c.In("id", query.Padded(ids))
	known := map[string]struct{}{}
	err := l.eachRow(`SELECT id FROM audit`+c.String(), c.Args, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		known[id] = struct{}{}
		return err
	})
	return known, err
}

// SuggestionFilter selects the requests that suggestions are made of.
type SuggestionFilter struct {
	Filter // of it, the resource and Since
	// Named reports whether a rule for the resource names a host, so that nothing is to suggest.
	Named func(r api.Resource, host string) (bool, error)
}

// Suggest returns the hosts that requests were sent to and that no rule names, with the most requests first. It examines the newest
// maxExamined requests of each effect.
func (l *Log) Suggest(f SuggestionFilter) ([]api.Suggestion, error) {
	found := map[requested]*api.Suggestion{}
	for _, f.Action = range []string{actTrafficPending, actTrafficDeny} {
		if err := l.addRequests(found, &f.Filter); err != nil {
			return nil, err
		}
	}
	list := []api.Suggestion{}
	for at, s := range found {
		named, err := f.Named(at.Resource, at.host)
		if err != nil {
			return nil, err
		}
		if !named {
			slices.Sort(s.Methods)
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b api.Suggestion) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Host, b.Host), cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceID, b.ResourceID))
	})
	return list[:min(len(list), maxSuggestions)], nil
}

// requested is a host that a resource has sent requests to.
type requested struct {
	api.Resource
	host string
}

// addRequests adds to found the requests of a filter that no rule has decided.
func (l *Log) addRequests(found map[requested]*api.Suggestion, f *Filter) error {
	s := l.selection(f)
	s.where.Terms = append(s.where.Terms, "("+s.match+")", "a.rule_id = ''")
	return l.eachRow(`SELECT a.resource_type, a.resource_id, a.host, a.method, a.effect, a.outcome, a.at FROM `+s.from+
		` JOIN audit a ON a.seq = i.seq AND a.tenant_id = i.tenant_id`+s.where.String()+
		` ORDER BY i.at DESC, i.seq DESC LIMIT `+strconv.Itoa(maxExamined), s.where.Args, func(rows *sql.Rows) error {
		var to requested
		var method, effect, outcome string
		var micros int64
		if err := rows.Scan(&to.Type, &to.ID, &to.host, &method, &effect, &outcome, &micros); err != nil {
			return err
		}
		at := fromMicros(micros)
		g := found[to]
		if g == nil {
			g = &api.Suggestion{Host: to.host, Methods: []string{}, ResourceType: to.Type, ResourceID: to.ID, FirstSeen: at}
			found[to] = g
		}
		if g.Count++; outcome == api.OutcomeDenied {
			g.DeniedCount++
		}
		if method != "" && !slices.Contains(g.Methods, method) && len(g.Methods) < maxMethods {
			g.Methods = append(g.Methods, method)
		}
		if at.Before(g.FirstSeen) {
			g.FirstSeen = at
		}
		if at.After(g.LastSeen) {
			g.LastSeen, g.Reason = at, effect
		}
		return nil
	})
}

const (
	maxMethods     = 16   // of a suggestion
	maxSuggestions = 1000 // of an answer
)

// End returns the position after the newest event: a number that increases with each commit.
func (l *Log) End() (seq int64, err error) {
	err = l.Tx.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM (SELECT seq FROM audit WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1) AS newest`, l.Tenant).Scan(&seq)
	return seq, err
}

// After returns the events after a position that concern resources with an id, about a page at most, and the position after them.
func (l *Log) After(seq int64, resourceID string) (events []api.Event, next int64, err error) {
	if next, err = l.End(); err != nil || next <= seq {
		return nil, seq, err
	}
	c := l.Only.Clone()
	c.Add("a.tenant_id =", l.Tenant)
	c.Add("a.seq >", seq)
	c.Add("a.seq <=", next)
	c.Add("a.resource_id =", resourceID)
	size := int64(0)
	err = l.eachEvent(selectEvents+c.String()+` ORDER BY a.seq LIMIT `+strconv.Itoa(batchEvents), c.Args, func(r *eventRow) bool {
		events = append(events, r.Event)
		if size += sizeOf(&r.Event); len(events) == batchEvents || size >= maxRead/4 {
			next = r.seq
			return false
		}
		return true
	})
	return events, next, err
}
