package inject

import (
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// platformValue returns what the platform has set as the variable of a binding that is delivered by the
// platform itself: the inherited value under the name it is bound as. An empty one is none, and neither
// is a key of ours, so that no binding brings it to a command under another name.
func (e Environment) platformValue(name string) api.Value {
	if slices.Contains(ownKeys, name) {
		return api.Value{}
	}
	for _, entry := range e.Inherited {
		if value, ok := strings.CutPrefix(entry, name+"="); ok { // the one that getenv finds
			return api.NewValue([]byte(value))
		}
	}
	return api.Value{}
}

// notProvided reports whether the platform has set nothing for b.
func notProvided(b *api.Bound) bool { return b.Delivery == api.DeliverPlatform && b.Value.Len() == 0 }

// platformWarnings says of which bindings the platform's own variable is kept.
func platformWarnings(bound []api.Bound) []Warning {
	var warnings []Warning
	for _, b := range bound {
		if b.Delivery == api.DeliverPlatform {
			warnings = append(warnings, Warning{Kind: WarnPlatform, Binding: b.ID, Name: b.ExposeAsEnv})
		}
	}
	return warnings
}

// NotProvided lists bindings that the platform delivers itself, and whose variables it hasn't set here.
type NotProvided struct {
	Bindings []api.Label // under the names they are bound as
}

// add notes a binding whose name has a prefix before it.
func (n *NotProvided) add(b *api.Bound, prefix string) {
	label := b.Label
	label.ExposeAsEnv = strings.TrimPrefix(label.ExposeAsEnv, prefix)
	n.Bindings = append(n.Bindings, label)
}

func (n *NotProvided) Error() string {
	lines := make([]string, len(n.Bindings))
	for i, b := range n.Bindings {
		lines[i] = "the platform did not provide " + shown(b.ExposeAsEnv) + ": it isn't set here, and its binding " + shown(b.ID) +
			" has no placeholder_token to set it to"
	}
	return strings.Join(lines, "\n")
}

// Hint says how to fix it.
func (n *NotProvided) Hint() string {
	return "the platform sets bound variables when a sandbox or computer starts: run miosa-env inside of it, with the environment it was started with " +
		"(sudo, su, ssh and cron drop variables), start it again after binding, or leave the variable out with --only"
}
