package tenant

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// names are the names of what an event has ids of. Deleted items have none.
type names struct {
	secrets  map[string]string // id to name
	bindings map[string]string // id to variable
	keys     map[string]string // id to resource

	nameless map[string]bool // ids of loadFor that the vault has no name of
}

// load asks the vault for all names. Those of lists that it doesn't return stay unknown.
func (n *names) load(ctx context.Context, vault *secrets.Client) error {
	nameless := n.nameless
	if nameless == nil {
		nameless = map[string]bool{}
	}
	*n = names{map[string]string{}, map[string]string{}, map[string]string{}, nameless}
	list, err := vault.List(ctx, secrets.Filter{})
	for _, s := range list {
		n.secrets[s.ID] = cli.Quote(s.Name)
	}
	bindings, bindingsErr := vault.ListBindings(ctx, secrets.BindingFilter{})
	for _, b := range bindings {
		n.bindings[b.ID] = b.ExposeAsEnv
	}
	keys, keysErr := vault.ListKeys(ctx, api.Resource{})
	for _, k := range keys {
		n.keys[k.ID] = k.Resource.String()
	}
	return errors.Join(err, bindingsErr, keysErr)
}

// loadFor is load, if an event has ids of which neither the name is known nor that the vault has none.
func (n *names) loadFor(ctx context.Context, vault *secrets.Client, e *api.Event) (loaded bool) {
	ids := []string{e.SecretID, e.BindingID, e.TargetKeyID, e.KeyID}
	for _, b := range e.Bindings {
		ids = append(ids, b.ID)
	}
	known := func(id string) bool { return cmp.Or(n.secrets[id], n.bindings[id], n.keys[id]) != "" || n.nameless[id] }
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" || known(id) })
	if len(ids) == 0 {
		return false
	}
	if n.load(ctx, vault) == nil {
		for _, id := range ids {
			n.nameless[id] = !known(id)
		}
	}
	return true
}

// key returns the id of a key and its resource, if that is known.
func (n *names) key(id string) string {
	if resource := n.keys[id]; resource != "" {
		return id + " (" + resource + ")"
	}
	return id
}

// subject returns what an event is about, with ids of items whose names are unknown.
func (n *names) subject(e *api.Event) string {
	var parts, variables []string
	for _, b := range e.Bindings {
		if name := n.bindings[b.ID]; name != "" {
			variables = append(variables, name)
		}
	}
	if len(variables) < len(e.Bindings) {
		parts = append(parts, program.Counted(len(e.Bindings), "binding"))
	} else if len(variables) > 0 {
		parts = append(parts, few(variables))
	}
	add := func(before, text string) {
		if text != "" {
			parts = append(parts, before+text)
		}
	}
	add("", cmp.Or(n.secrets[e.SecretID], e.SecretID))
	if variable := n.bindings[e.BindingID]; variable != "" {
		add("as ", variable)
	} else {
		add("", e.BindingID)
	}
	add("", n.key(e.TargetKeyID))
	add("version ", program.VersionOf(e.Version))
	add("", e.Detail)
	return strings.Join(parts, ", ")
}
