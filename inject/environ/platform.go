package environ

import (
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// platformValue returns the inherited value of a variable that the platform sets for a binding. An empty value counts as
// none, and so does a key of miosa-env, so that no binding can pass it to the command under another name.
func (e Environment) platformValue(name string) api.Value {
	if slices.Contains(keyNames, name) {
		return api.Value{}
	}
	for _, entry := range e.Inherited {
		if value, ok := strings.CutPrefix(entry, name+"="); ok { // the first one, as getenv
			return api.NewValue([]byte(value))
		}
	}
	return api.Value{}
}

// notProvided reports whether the platform should deliver b and has set nothing.
func notProvided(b *api.Bound) bool { return b.Delivery == api.DeliverPlatform && b.Value.Len() == 0 }

// NotProvided is the error for bindings that the platform should deliver and whose variables aren't set.
type NotProvided struct {
	Bindings []api.Label // with the names they are bound to, without prefix
}

func (n *NotProvided) Error() string {
	lines := make([]string, len(n.Bindings))
	for i, b := range n.Bindings {
		lines[i] = "the platform did not provide " + Quote(b.ExposeAsEnv) + ": it isn't set here, and its binding " + Quote(b.ID) +
			" has no placeholder_token to set it to"
	}
	return strings.Join(lines, "\n")
}

// Hint tells how to fix it.
func (n *NotProvided) Hint() string {
	return "the platform sets bound variables when a sandbox or computer starts: run miosa-env inside of it, with the environment it was started with " +
		"(sudo, su, ssh and cron drop variables), start it again after binding, or leave the variable out with --only"
}
