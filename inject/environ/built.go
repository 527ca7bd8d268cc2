package environ

import (
	"hash/maphash"
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
	warnName     = "name"     // a binding sets a name that changes how programs behave
	WarnOnly     = "only"     // an entry of Only matches no binding
	WarnPlatform = "platform" // the variable is kept as the platform has set it
)

// Warning describes something that may be a mistake but doesn't stop a run.
type Warning struct {
	Kind    string
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
	return "binding " + Quote(w.Binding) + " sets " + Quote(w.Name) + ", which " + reasons[warnedName]
}

// MaxEntry returns the maximum length in bytes of NAME=value, or of an argument, that Linux's execve accepts: 32 pages
// less the NUL. Source: include/uapi/linux/binfmts.h.
func MaxEntry() int { return 32*os.Getpagesize() - 1 }

// Fingerprint identifies bytes within this process: equal fingerprints mean equal bytes. It hides nothing from somebody
// who can read this process's memory.
type Fingerprint [2]uint64

// seeds has one seed for each half of a Fingerprint.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// FingerprintOf returns the fingerprint of b.
//
// It hashes the bytes in place: hashes that are written to, such as those of crypto and maphash.Hash, keep an incomplete
// block on the heap.
func FingerprintOf(b []byte) Fingerprint {
	return Fingerprint{maphash.Bytes(seeds[0], b), maphash.Bytes(seeds[1], b)}
}

// Fingerprints returns the fingerprints of the bound values by name. Call it before the values are wiped.
func (b Built) Fingerprints() map[string]Fingerprint {
	all := make(map[string]Fingerprint, len(b.Bound))
	api.Quietly(func() {
		for _, n := range b.Bound {
			n.Value.Use(func(value []byte) { all[n.ExposeAsEnv] = FingerprintOf(value) })
		}
	})
	return all
}
