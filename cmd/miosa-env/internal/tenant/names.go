package tenant

import (
	"context"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// auditNames are what people call what an event has ids of. What is deleted has no name any more.
type auditNames struct {
	secrets  map[string]string // id to name
	bindings map[string]string // id to variable
	keys     map[string]string // id to resource
}

// load asks the vault. What it doesn't answer stays without names.
func (n *auditNames) load(ctx context.Context, vault *secrets.Client) {
	*n = auditNames{map[string]string{}, map[string]string{}, map[string]string{}}
	list, _ := vault.List(ctx, secrets.Filter{})
	for _, s := range list {
		n.secrets[s.ID] = cli.Quote(s.Name)
	}
	bindings, _ := vault.ListBindings(ctx, secrets.BindingFilter{})
	for _, b := range bindings {
		n.bindings[b.ID] = b.ExposeAsEnv
	}
	keys, _ := vault.ListKeys(ctx, api.Resource{})
	for _, k := range keys {
		n.keys[k.ID] = k.Resource.String()
	}
}

// knows reports whether all that an event is about has a name.
func (n *auditNames) knows(e *api.Event) bool {
	known := func(names map[string]string, id string) bool { return id == "" || names[id] != "" }
	return known(n.secrets, e.SecretID) && known(n.bindings, e.BindingID) && known(n.keys, e.TargetKeyID)
}

// key is a key's id, and what it is for where that is known.
func (n *auditNames) key(id string) string {
	if of := n.keys[id]; of != "" {
		return id + " (" + of + ")"
	}
	return id
}

// what says what an event is about: names, and ids of what has none.
func (n *auditNames) what(e *api.Event) string {
	var what []string
	if len(e.Bindings) > 0 {
		var names []string
		for _, b := range e.Bindings {
			if name := n.bindings[b.ID]; name != "" {
				names = append(names, name)
			}
		}
		if len(names) == len(e.Bindings) {
			what = append(what, few(names))
		} else {
			what = append(what, program.Counted(len(e.Bindings), "binding"))
		}
	}
	add := func(before string, names map[string]string, id string) {
		if name := names[id]; name != "" {
			what = append(what, before+name)
		} else if id != "" {
			what = append(what, id)
		}
	}
	add("", n.secrets, e.SecretID)
	add("as ", n.bindings, e.BindingID)
	if e.TargetKeyID != "" {
		what = append(what, n.key(e.TargetKeyID))
	}
	if e.Version > 0 {
		what = append(what, "version "+strconv.FormatInt(e.Version, 10))
	}
	if e.Detail != "" {
		what = append(what, e.Detail)
	}
	return strings.Join(what, ", ")
}
