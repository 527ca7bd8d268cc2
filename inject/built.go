package inject

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"

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
	WarnOnly WarningKind = "only" // an entry of Only matches no binding

	WarnPlatform WarningKind = "platform" // the platform has set the variable, and it is kept as it is
)

// WarningKind tells warnings apart.
type WarningKind string

// Warning is something that may not be meant, and doesn't stop a run.
type Warning struct {
	Kind    WarningKind
	Binding string // the binding's id; empty for WarnOnly
	Name    string // the final name, or the entry of Only
	Meant   string // the bound name that was probably meant by an entry of Only, or empty
}

func (w Warning) String() string {
	switch w.Kind {
	case WarnOnly:
		return "--only " + shown(w.Name) + " matches no binding"
	case WarnPlatform:
		return shown(w.Name) + " is kept as the platform has set it: its binding " + shown(w.Binding) + " has no placeholder_token"
	}
	return "binding " + shown(w.Binding) + " sets " + shown(w.Name) + ", which " + warnedName.reason()
}

// Fingerprint stands for what a command sees of a snapshot: two are equal where the same names have
// the same values. It is good within this process only, and outlives the snapshot. It tells sets apart
// and hides nothing: whoever has the process's memory has the seeds too.
type Fingerprint [2]uint64

// seeds are of this process, one for each half of a Fingerprint.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// Fingerprint is taken before the snapshot's values are wiped.
//
// The sums are computed where the bytes lie. A hash that is written to, as those of crypto are and
// maphash.Hash is, keeps what doesn't fill a block, and leaves it on the heap.
func (b Built) Fingerprint() Fingerprint {
	byName := slices.Clone(b.Bound)
	sort.SliceStable(byName, func(i, j int) bool { return byName[i].ExposeAsEnv < byName[j].ExposeAsEnv })
	const field = 3 * 8 // length, and both sums: fields can't run together
	sums := make([]byte, 0, 2*field*len(byName))
	add := func(b []byte) {
		sums = binary.BigEndian.AppendUint64(sums, uint64(len(b)))
		for _, seed := range seeds {
			sums = binary.BigEndian.AppendUint64(sums, maphash.Bytes(seed, b))
		}
	}
	api.Quietly(func() {
		for _, n := range byName {
			add([]byte(n.ExposeAsEnv))
			n.Value.Use(add)
		}
	})
	return Fingerprint{maphash.Bytes(seeds[0], sums), maphash.Bytes(seeds[1], sums)}
}

// trace stands for what a variable was given, as a Fingerprint does for all of them, with its version.
type trace struct {
	version int64
	sums    Fingerprint
}

// traces gives the trace of each bound variable by its final name. It is taken before the values are wiped.
func (b Built) traces() map[string]trace {
	m := make(map[string]trace, len(b.Bound))
	api.Quietly(func() {
		for _, s := range b.Bound {
			s.Value.Use(func(v []byte) {
				m[s.ExposeAsEnv] = trace{s.Version, Fingerprint{maphash.Bytes(seeds[0], v), maphash.Bytes(seeds[1], v)}}
			})
		}
	})
	return m
}

// changesOf says which variables have other values than before.
func changesOf(before, now map[string]trace) api.Changes {
	return api.Compare(before, now,
		func(a, b trace) bool { return a.sums == b.sums },
		func(name string) int64 { return now[name].version })
}
