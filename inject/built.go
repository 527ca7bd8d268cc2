package inject

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/Miosa-osa/miosa-env/api"
)

// Built is an environment ready for execve, and what is in it of ours.
type Built struct {
	// Environ is NAME=value, each name once: inherited entries in their order, then those of env files
	// by name, then bound ones in the vault's order. A variable that is overridden keeps its place.
	Environ []string
	// Bound are the bindings that the command sees, ExposeAsEnv being the final name. Their values are
	// the snapshot's: wiping the one wipes the other.
	Bound    []api.Bound
	Warnings []Warning
}

// The kinds of Warning.
const (
	WarnName WarningKind = "name" // a binding sets a name that changes how programs behave
	WarnOnly WarningKind = "only" // an entry of Only keeps no binding
)

// WarningKind tells warnings apart.
type WarningKind string

// Warning is something that may not be meant, and doesn't stop a run.
type Warning struct {
	Kind    WarningKind
	Binding string // the binding's id; empty for WarnOnly
	Name    string // the final name, or the entry of Only
}

func (w Warning) String() string {
	if w.Kind == WarnOnly {
		return "--only " + shown(w.Name) + " keeps no binding"
	}
	return "binding " + shown(w.Binding) + " sets " + shown(w.Name) + ", which " + warnedName.reason()
}

// Named gives the bound values under their final names.
func (b Built) Named() []Named {
	named := make([]Named, len(b.Bound))
	for i, s := range b.Bound {
		named[i] = Named{Name: s.ExposeAsEnv, Value: s.Value}
	}
	return named
}

// Fingerprint stands for what a command sees of a snapshot: two are equal where the same names have
// the same values. It is good within this process only, says nothing of the values to whoever finds
// it, and outlives the snapshot.
type Fingerprint [sha256.Size]byte

var fingerprintKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
	return key
})

// Fingerprint is taken before the snapshot's values are wiped.
func (b Built) Fingerprint() Fingerprint {
	byName := b.Named()
	slices.SortFunc(byName, func(x, y Named) int { return strings.Compare(x.Name, y.Name) })
	h := hmac.New(sha256.New, fingerprintKey())
	size := make([]byte, 8)
	sized := func(b []byte) {
		binary.BigEndian.PutUint64(size, uint64(len(b)))
		h.Write(size)
		h.Write(b)
	}
	for _, n := range byName {
		sized([]byte(n.Name))
		n.Value.Use(sized)
	}
	return Fingerprint(h.Sum(nil))
}
