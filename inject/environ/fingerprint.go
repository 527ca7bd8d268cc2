package environ

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"

	"github.com/Miosa-osa/miosa-env/api"
)

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

// Fingerprint returns the fingerprint of the bound names and values. Call it before the values are wiped.
func (b Built) Fingerprint() Fingerprint {
	byName := slices.Clone(b.Bound)
	sort.SliceStable(byName, func(i, j int) bool { return byName[i].ExposeAsEnv < byName[j].ExposeAsEnv })
	const field = 3 * 8 // length and fingerprint, so that fields can't run together
	sums := make([]byte, 0, 2*field*len(byName))
	add := func(b []byte) {
		sums = binary.BigEndian.AppendUint64(sums, uint64(len(b)))
		for _, half := range FingerprintOf(b) {
			sums = binary.BigEndian.AppendUint64(sums, half)
		}
	}
	api.Quietly(func() {
		for _, n := range byName {
			add([]byte(n.ExposeAsEnv))
			n.Value.Use(add)
		}
	})
	return FingerprintOf(sums)
}
