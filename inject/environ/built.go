package environ

import (
	"os"

	"github.com/Miosa-osa/miosa-env/api"
)

// Built is an environment ready for execve.
type Built struct {
	// Environ is NAME=value, without duplicate names: inherited entries in their order, then those of env files by name,
	// then bound ones in the vault's order. An overridden variable keeps its place.
	Environ []string
	// Bound are the bindings in Environ, with final names in ExposeAsEnv. They share their values with the snapshot.
	Bound    []api.Bound
	Warnings []Warning
}

// Kinds of warnings.
const (
	WarnName     WarningKind = "name"     // a binding sets a name that changes how programs behave
	WarnOnly     WarningKind = "only"     // an entry of Only matches no binding
	WarnPlatform WarningKind = "platform" // the variable is kept as the platform has set it
)

// WarningKind is the kind of a Warning.
type WarningKind string

// Warning describes something that may be a mistake but doesn't stop a run.
type Warning struct {
	Kind    WarningKind
	Binding string // the binding's id; empty for WarnOnly
	Name    string // the final name, or the entry of Only
	Meant   string // the bound name that the entry of Only probably meant; may be empty
}

func (w Warning) String() string {
	switch w.Kind {
	case WarnOnly:
		return "--only " + Quote(w.Name) + " matches no binding"
	case WarnPlatform:
		return Quote(w.Name) + " is kept as the platform has set it: its binding " + Quote(w.Binding) + " has no placeholder_token"
	}
	return "binding " + Quote(w.Binding) + " sets " + Quote(w.Name) + ", which " + warnedName.reason()
}

// MaxEntry returns the maximum length in bytes of NAME=value, or of an argument, that Linux's execve accepts: 32 pages
// less the NUL. Source: include/uapi/linux/binfmts.h.
func MaxEntry() int { return 32*os.Getpagesize() - 1 }
