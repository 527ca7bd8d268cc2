// Package keytree has what both programs show of keys, and ask about them: their tree, their restrictions, and what happens
// to the keys that a revoked key has created.
package keytree

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// Node is a key in a tree. Depth is 0 for keys whose parent isn't in the list.
type Node struct {
	*api.IssuedKey
	Depth int
}

// Indent is the beginning of the node's line.
func (n Node) Indent() string { return strings.Repeat("  ", n.Depth) }

// Of returns keys in the order of their tree: each is followed by those that it has created.
func Of(keys []*api.IssuedKey) []Node {
	known := map[string]bool{}
	for _, k := range keys {
		known[k.ID] = true
	}
	children := map[string][]*api.IssuedKey{}
	for _, k := range keys {
		parent := k.ParentID
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], k)
	}
	nodes := make([]Node, 0, len(keys))
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		list := children[parent]
		delete(children, parent) // a vault that answers with a cycle ends it here
		for _, k := range list {
			nodes = append(nodes, Node{k, depth})
			add(k.ID, depth+1)
		}
	}
	add("", 0)
	return nodes
}

// Pointers returns pointers to the items of a list.
func Pointers(keys []api.IssuedKey) []*api.IssuedKey {
	list := make([]*api.IssuedKey, len(keys))
	for i := range keys {
		list[i] = &keys[i]
	}
	return list
}

// Under returns the valid keys under the key with an id.
func Under(keys []*api.IssuedKey, id string) (under []*api.IssuedKey) {
	depth := -1 // of the key, while its nodes follow
	for _, n := range Of(keys) {
		switch {
		case n.ID == id:
			depth = n.Depth
		case depth >= 0 && n.Depth <= depth:
			return under
		case depth >= 0 && !n.Ended(time.Now()):
			under = append(under, n.IssuedKey)
		}
	}
	return under
}

// Limits returns a key's restrictions for people; "" if there are none.
func Limits(r api.Restrictions) string {
	var parts []string
	for _, list := range [][]string{r.Permissions, r.Scopes, r.Resources} {
		if len(list) > 0 {
			parts = append(parts, strings.Join(list, ","))
		}
	}
	return strings.Join(parts, " ")
}

// Name returns a key's id and its label, if it has one.
func Name(k *api.IssuedKey) string {
	if k.Label == "" {
		return k.ID
	}
	return k.ID + " (" + k.Label + ")"
}

// AddFlags adds the flags of a key to create.
func AddFlags(f *pflag.FlagSet, n *api.KeyRequest) {
	f.Var(setting.Text(&n.Label), "label", "`TEXT` what the key is for")
	f.Var(setting.List(&n.Permissions).Suggest(api.Permissions()...), "permissions", "`LIST` a tenant key may do this only: "+strings.Join(api.Permissions(), ","))
	f.Var(setting.List(&n.Scopes).Suggest(api.Scopes()...), "only-scopes", "`LIST` secrets of these scopes only, such as user,workspace")
	f.Var(setting.List(&n.Resources), "only-resources", "`LIST` a tenant key may use these resources only, such as sandbox:sb_1,computer:c_1")
}

// AddBrokerFlags adds the flags of a broker key to create, whose resources are in handles.
func AddBrokerFlags(f *pflag.FlagSet, n *api.KeyRequest, handles *[]string) {
	f.BoolVar(&n.Broker, "broker", false, "a key for the broker that the requests of sandboxes and computers go through")
	f.Var(setting.List(handles), "resource", "`LIST` the sandboxes and computers of a broker key, such as sandbox:sb_1,computer:c_1")
}

// ForBroker completes the request of a broker key.
func ForBroker(n *api.KeyRequest, handles []string) error {
	switch {
	case len(handles) == 0:
		return cli.Usage(errors.New("--broker wants --resource"), "name the sandboxes and computers whose requests it handles, as in --resource sandbox:sb_1")
	case n.Permissions != nil || n.Resources != nil:
		return cli.Usage(errors.New("--permissions and --only-resources are for tenant keys"), "leave them out: a broker key's resources are given with --resource")
	}
	n.Resources = handles
	if err := n.Restrictions.Validate(); err != nil {
		n.Resources = nil
		return cli.Usage(errors.New("--resource: want sandbox:ID or computer:ID"), "several are separated by commas")
	}
	return nil
}
