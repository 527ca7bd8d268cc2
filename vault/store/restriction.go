package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
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
func (a Actor) limitNetwork(c *conditions) {
	if len(a.Scopes) > 0 {
		c.terms = append(c.terms, "1 = 0")
	}
	c.inResources("", a.Resources)
}

// limitSecrets selects the secrets that the actor's key may see. Their columns have a prefix such as "s.".
func (a Actor) limitSecrets(c *conditions, prefix string) {
	c.in(prefix+"scope", a.Scopes)
	c.inResources(prefix, a.Resources)
}

// maySee reports whether the actor's key may see secrets of a scope.
func (a Actor) maySee(scope string) bool {
	return len(a.Scopes) == 0 || slices.Contains(a.Scopes, scope)
}

// limitBindings selects the bindings b, to secrets s, that the actor's key may see.
func (a Actor) limitBindings(c *conditions) {
	c.in("s.scope", a.Scopes)
	c.inResources("b.", a.Resources)
}

// limitEvents selects the events a that the actor's key may see. With restricted scopes these are events of secrets
// that exist.
func (a Actor) limitEvents(c *conditions) {
	c.inResources("a.", a.Resources)
	if len(a.Scopes) > 0 {
		secrets := conditions{args: c.args}
		secrets.add("tenant_id =", a.TenantID)
		secrets.in("scope", a.Scopes)
		c.args = secrets.args
		c.terms = append(c.terms, "a.secret_id IN (SELECT id FROM secrets"+secrets.String()+")")
	}
}

// ofKeys selects the keys k that match a filter.
func (c *conditions) ofKeys(f KeyFilter) {
	if f.ResourceType == "" || f.ResourceID == "" {
		c.match("k.resource_type", f.ResourceType, "k.resource_id", f.ResourceID)
		return
	}
	n := len(c.args)
	c.args = append(c.args, f.ResourceType, f.ResourceID, `%"`+likeText.Replace(f.ResourceType+":"+f.ResourceID)+`"%`)
	c.terms = append(c.terms, fmt.Sprintf(`(k.resource_type = $%d AND k.resource_id = $%d OR k.broker = 1 AND k.resources LIKE $%d ESCAPE '!')`,
		n+1, n+2, n+3))
}

// likeText escapes text for LIKE.
var likeText = strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`, `"`, `!"`)

// limitKeys selects the keys k that the actor's key may see: if it is restricted, itself and the keys under it.
func (a Actor) limitKeys(c *conditions) {
	if !a.Restrictions.None() {
		c.under(a.KeyID)
	}
}

// under selects a key and the keys that it has created, that those have created, and so on.
func (c *conditions) under(id string) {
	c.args = append(c.args, id)
	c.terms = append(c.terms, `k.id IN (WITH RECURSIVE tree (id) AS (SELECT CAST($`+strconv.Itoa(len(c.args))+` AS TEXT)
		UNION SELECT child.id FROM api_keys child JOIN tree ON child.parent_id = tree.id) SELECT id FROM tree)`)
}

// in selects rows whose column has one of the values; without values, all.
func (c *conditions) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	parameters := make([]string, len(values))
	for i, v := range values {
		c.args = append(c.args, v)
		parameters[i] = "$" + strconv.Itoa(len(c.args))
	}
	c.terms = append(c.terms, column+" IN ("+strings.Join(parameters, ", ")+")")
}

// inResources selects rows of one of the resources; without resources, all.
func (c *conditions) inResources(prefix string, resources []string) {
	if len(resources) == 0 {
		return
	}
	terms := make([]string, len(resources))
	for i, text := range resources {
		typ, id, _ := strings.Cut(text, ":")
		one := conditions{args: c.args}
		one.match(prefix+"resource_type", typ, prefix+"resource_id", id)
		c.args = one.args
		terms[i] = strings.Join(one.terms, " AND ")
	}
	c.terms = append(c.terms, "("+strings.Join(terms, " OR ")+")")
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

// conditions is a WHERE clause: all terms must hold.
type conditions struct {
	terms []string
	args  []any // of the terms' $n
}

// add adds a comparison of an expression, such as "at >=", with arg.
func (c *conditions) add(left string, arg any) {
	c.args = append(c.args, arg)
	c.terms = append(c.terms, left+" $"+strconv.Itoa(len(c.args)))
}

// match adds comparisons for pairs of a column and the value that it must have; with "" it may have any.
func (c *conditions) match(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			c.add(pairs[i]+" =", pairs[i+1])
		}
	}
}

// after selects the rows after a cursor, in the order of created_at and id, whose columns have a prefix such as "k.".
func (c *conditions) after(prefix, cursor string) error {
	if cursor == "" {
		return nil
	}
	created, id, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	c.args = append(c.args, created, id)
	// A comparison of rows, since databases find its start in an index.
	c.terms = append(c.terms, fmt.Sprintf("(%[1]screated_at, %[1]sid) > ($%[2]d, $%[3]d)", prefix, len(c.args)-1, len(c.args)))
	return nil
}

func (c *conditions) String() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// Page selects a part of a list.
type Page struct {
	Limit  int    `query:"limit"`  // 1 to 1000; 0: as many as fit in a page
	Cursor string `query:"cursor"` // from the page before; "": from the start
}

// pageRows and pageBytes are the longest page that is read in one transaction; a page has at least one row. A longer list
// takes several, so that neither memory nor a transaction grows with it.
const (
	pageRows  = 500
	pageBytes = 256 << 10
)

// rows checks the limit and returns how many rows to read at most.
func (p Page) rows() (int, error) {
	if p.Limit < 0 || p.Limit > 1000 {
		return 0, invalid("limit must be 1 to 1000")
	}
	return min(cmp.Or(p.Limit, pageRows), pageRows), nil
}

// list returns the first rows of a query, and the cursor of the last one if there may be more. size is about the length of
// a row beside its short columns.
func list[T any](t *txn, p Page, fields func(*T) []any, size func(*T) int, cursor func(*T) string, query string, args ...any) (rows []T, next string, err error) {
	most, err := p.rows()
	if err != nil {
		return nil, "", err
	}
	bytes := 0
	full := func(row *T) bool {
		bytes += size(row)
		return bytes >= pageBytes
	}
	rows, more, err := collectUntil(t, fields, full, query+` LIMIT `+strconv.Itoa(most+1), args...)
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
func (t *txn) ofResources(kind string, ids []string) (c conditions) {
	c.add("b.tenant_id =", t.actor.TenantID)
	c.add("b.resource_type =", kind)
	if t.actor.broker {
		c.add("b.delivery =", api.DeliverPlaceholder)
	}
	c.in("b.resource_id", padded(ids))
	return c
}

// padded repeats the last of some ids so that their number is a power of two: the database keeps few statements prepared.
func padded(ids []string) []string {
	n := 1
	for n < len(ids) {
		n *= 2
	}
	ids = slices.Clone(ids)
	for len(ids) < n {
		ids = append(ids, ids[len(ids)-1])
	}
	return ids
}

var errCursor = invalid("cursor is not one that this list gave")

func invalid(message string) *api.Error { return api.NewError(api.ErrInvalid, message) }

func notFound(what string) *api.Error { return api.NewError(api.ErrNotFound, "no such "+what) }

// newID returns an id: a prefix for its kind, and 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// hashOf is the form in which keys, states and long identifiers are stored.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// newCursor identifies the last row of a page, for conditions.after. It is opaque to clients.
func newCursor(created time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(created.UnixMicro(), 36) + " " + id))
}

func parseCursor(c string) (created int64, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return 0, "", errCursor
	}
	number, id, ok := strings.Cut(string(text), " ")
	created, err = strconv.ParseInt(number, 36, 64)
	if err != nil || !ok {
		return 0, "", errCursor
	}
	return created, id, nil
}
