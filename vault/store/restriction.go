package store

import (
	"slices"
	"strconv"
	"strings"

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
	case actBindingCreate, actBindingDelete:
		return []string{api.PermissionBindingsWrite}
	case actBindingList:
		return []string{api.PermissionBindingsWrite, api.PermissionSecretsRead}
	case actKeyCreate, actKeyReplace, actKeyRevoke, actKeyRead:
		return []string{api.PermissionKeysWrite}
	case actAuditRead:
		return []string{api.PermissionAuditRead}
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
	if n.Resource != (api.Resource{}) { // its resource is checked instead, and its permissions are those of its kind
		r.Permissions, r.Resources = nil, nil
	}
	return r, nil
}
