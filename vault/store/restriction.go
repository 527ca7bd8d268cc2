package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

// A tenant key may be restricted to permissions, scopes and resources. Permit checks the permissions. The conditions below
// are part of every query on behalf of a key, so what it may not see doesn't exist for it; what it creates or
// changes is checked by mayUse in the transaction.

// permissionsFor returns the permissions one of which a restricted tenant key needs for an action. Without any, no
// restricted key may do it.
func permissionsFor(action string) []string {
	switch action {
	case actSecretRead:
		return []string{api.PermissionSecretsRead}
	case actSecretCreate, actSecretReplace, actSecretRotate, actSecretDelete:
		return []string{api.PermissionSecretsWrite}
	case actBindingCreate, actBindingDelete, actBindingRule, actSecretRule:
		return []string{api.PermissionBindingsWrite}
	case actBindingList:
		return []string{api.PermissionBindingsWrite, api.PermissionSecretsRead}
	case actKeyCreate, actKeyReplace, actKeyRevoke, actKeyRead:
		return []string{api.PermissionKeysWrite}
	case actAuditRead:
		return []string{api.PermissionAuditRead}
	case actPolicyCreate, actPolicyUpdate, actPolicyDelete, actEntryCreate, actEntryDelete, actNetworkRead:
		return []string{api.PermissionNetworkWrite}
	case actOAuthStart, actOAuthRead:
		return []string{api.PermissionOAuth}
	}
	return nil
}

// refusal returns why the actor's permissions don't include an action; "" if they do.
func (a Actor) refusal(action string) string {
	if len(a.Permissions) == 0 || action == anyKey {
		return ""
	}
	needed := permissionsFor(action)
	if slices.ContainsFunc(needed, func(p string) bool { return slices.Contains(a.Permissions, p) }) {
		return ""
	}
	return "this key is restricted: it lacks the permission " + strings.Join(needed, " or ")
}

// denial is the error of a transaction that the actor's restrictions don't allow. It is audited after the transaction, as
// other denied attempts are.
type denial struct {
	action   string
	resource api.Resource
	err      *api.Error // ErrDenied
}

func (d *denial) Error() string { return d.err.Error() }
func (d *denial) Unwrap() error { return d.err }

func denied(action string, r api.Resource, message string) error {
	return &denial{action, r, api.NewError(api.ErrDenied, message)}
}

// mayDo returns a denial if the actor's permissions don't include an action on r.
func (t *txn) mayDo(action string, r api.Resource) error {
	if message := t.actor.refusal(action); message != "" {
		return denied(action, r, message)
	}
	return nil
}

// mayUse returns a denial if the actor's restrictions don't include a secret of this scope and resource, which is zero for
// a secret of no resource.
func (t *txn) mayUse(action, scope string, r api.Resource) error {
	if !t.actor.maySee(scope) {
		return denied(action, r, "scope: this key is restricted to "+strings.Join(t.actor.Scopes, ", "))
	}
	return t.mayUseResource(action, r)
}

// mayUseResource returns a denial if the actor's restrictions don't include r.
func (t *txn) mayUseResource(action string, r api.Resource) error {
	if len(t.actor.Resources) > 0 && !slices.Contains(t.actor.Resources, r.String()) {
		if r == (api.Resource{}) {
			return denied(action, r, "this key is restricted to some resources: say to which of them the secret belongs")
		}
		return denied(action, r, "resource_id: this key is restricted to other resources")
	}
	return nil
}

// seesNetwork reports whether the actor's key may see and set policies and entries for r, zero for all resources. One that is restricted
// to scopes of secrets may not: a policy has none.
func (a Actor) seesNetwork(r api.Resource) bool {
	return len(a.Scopes) == 0 && (len(a.Resources) == 0 || slices.Contains(a.Resources, r.String()))
}

// mayUseNetwork returns a denial if the actor's restrictions don't include policies and entries for r.
func (t *txn) mayUseNetwork(action string, r api.Resource) error {
	if !t.actor.seesNetwork(r) {
		return denied(action, r, "this key is restricted to other resources, or to scopes of secrets")
	}
	return nil
}

// limitNetwork selects the policies and entries that the actor's key may see.
func (a Actor) limitNetwork(c *query.Conditions) {
	if len(a.Scopes) > 0 {
		c.Terms = append(c.Terms, "1 = 0")
	}
	c.InResources("", a.Resources)
}

// limitSecrets selects the secrets that the actor's key may see. Their columns have a prefix such as "s.".
func (a Actor) limitSecrets(c *query.Conditions, prefix string) {
	c.In(prefix+"scope", a.Scopes)
	c.InResources(prefix, a.Resources)
}

// maySee reports whether the actor's key may see secrets of a scope.
func (a Actor) maySee(scope string) bool {
	return len(a.Scopes) == 0 || slices.Contains(a.Scopes, scope)
}

// limitBindings selects the bindings b, to secrets s, that the actor's key may see.
func (a Actor) limitBindings(c *query.Conditions) {
	c.In("s.scope", a.Scopes)
	c.InResources("b.", a.Resources)
}

// limitEvents selects the events a that the actor's key may see. With restricted scopes these are events of secrets
// that exist.
func (a Actor) limitEvents(c *query.Conditions) {
	c.InResources("a.", a.Resources)
	if len(a.Scopes) > 0 {
		secrets := query.Conditions{Args: c.Args}
		secrets.Add("tenant_id =", a.TenantID)
		secrets.In("scope", a.Scopes)
		c.Args = secrets.Args
		c.Terms = append(c.Terms, "a.secret_id IN (SELECT id FROM secrets"+secrets.String()+")")
	}
}

// selectKeys selects the keys k that match a filter.
func (f KeyFilter) selectKeys(c *query.Conditions) {
	if f.ResourceType == "" || f.ResourceID == "" {
		c.Match("k.resource_type", f.ResourceType, "k.resource_id", f.ResourceID)
		return
	}
	n := len(c.Args)
	// Not LIKE, for which SQLite ignores case.
	listed := strings.Trim(listText([]string{f.ResourceType + ":" + f.ResourceID}), "[]")
	c.Args = append(c.Args, f.ResourceType, f.ResourceID, listed)
	c.Terms = append(c.Terms, fmt.Sprintf(`(k.resource_type = $%d AND k.resource_id = $%d OR k.broker = 1 AND REPLACE(k.resources, $%d, '') <> k.resources)`,
		n+1, n+2, n+3))
}

// limitKeys selects the keys k that the actor's key may see: if it is restricted, itself and the keys under it.
func (a Actor) limitKeys(c *query.Conditions) {
	if !a.Restrictions.None() {
		under(c, a.KeyID)
	}
}

// under selects a key and the keys that it has created, that those have created, and so on.
func under(c *query.Conditions, id string) {
	c.Args = append(c.Args, id)
	c.Terms = append(c.Terms, `k.id IN (WITH RECURSIVE tree (id) AS (SELECT CAST($`+strconv.Itoa(len(c.Args))+` AS TEXT)
		UNION SELECT child.id FROM api_keys child JOIN tree ON child.parent_id = tree.id) SELECT id FROM tree)`)
}

// restricted returns the restrictions of a key that the actor creates: what the request leaves open is as for the actor's
// own key. Errors: ErrInvalid; a denial if the request exceeds the actor's restrictions.
func (t *txn) restricted(n api.KeyRequest) (api.Restrictions, error) {
	r := n.Restrictions
	for _, list := range []struct {
		name string
		want *[]string
		have []string
	}{
		{"permissions", &r.Permissions, t.actor.Permissions}, {"scopes", &r.Scopes, t.actor.Scopes}, {"resources", &r.Resources, t.actor.Resources},
	} {
		wanted := slices.Clone(*list.want)
		if len(wanted) == 0 {
			wanted = slices.Clone(list.have)
		}
		if len(list.have) > 0 && slices.ContainsFunc(wanted, func(s string) bool { return !slices.Contains(list.have, s) }) {
			return r, denied(actKeyCreate, n.Resource, list.name+": a restricted key creates only keys within its own restrictions")
		}
		slices.Sort(wanted)
		*list.want = slices.Compact(wanted)
	}
	switch { // its permissions are those of its kind
	case n.Resource != (api.Resource{}): // which is checked instead
		r.Permissions, r.Resources = nil, nil
	case n.Broker:
		r.Permissions = nil
	}
	return r, nil
}

// Page selects a part of a list.
type Page = query.Page

// list returns the first rows of a query, and the cursor of the last one if there may be more. size is about the length of
// a row beside its short columns.
func list[T any](t *txn, p Page, fields func(*T) []any, size func(*T) int, cursor func(*T) string, rowsOf string, args ...any) (rows []T, next string, err error) {
	most, err := p.Rows()
	if err != nil {
		return nil, "", err
	}
	bytes := 0
	full := func(row *T) bool {
		bytes += size(row)
		return bytes >= query.PageBytes
	}
	rows, more, err := collectUntil(t, fields, full, rowsOf+` LIMIT `+strconv.Itoa(most+1), args...)
	if err != nil {
		return nil, "", err
	}
	if len(rows) > most {
		rows, more = rows[:most], true
	}
	if more {
		next = cursor(&rows[len(rows)-1])
	}
	return rows, next, nil
}

// ofResources selects the bindings b of resources of a type, for a broker those that agents get placeholders of.
func (t *txn) ofResources(kind string, ids []string) (c query.Conditions) {
	c.Add("b.tenant_id =", t.actor.TenantID)
	c.Add("b.resource_type =", kind)
	if t.actor.broker {
		c.Add("b.delivery =", api.DeliverPlaceholder)
	}
	c.In("b.resource_id", query.Padded(ids))
	return c
}

func invalid(message string) *api.Error { return api.NewError(api.ErrInvalid, message) }

func notFound(what string) *api.Error { return api.NewError(api.ErrNotFound, "no such "+what) }

// newID returns an id: a prefix for its kind, and 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// hashOf is the form in which keys, states and long identifiers are stored.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
