package output

import (
	"maps"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/environ"
)

// traces maps final names to what identifies their values. It outlives the values.
type traces map[string]trace

type trace struct {
	version int64
	value   environ.Fingerprint
}

func tracesOf(bound []api.Bound) traces {
	t := make(traces, len(bound))
	api.Quietly(func() {
		for _, b := range bound {
			b.Value.Use(func(v []byte) { t[b.ExposeAsEnv] = trace{b.Version, environ.FingerprintOf(v)} })
		}
	})
	return t
}

func sameValue(a, b trace) bool { return a.value == b.value }

// equal reports whether both have the same names and values.
func (t traces) equal(other traces) bool { return maps.EqualFunc(t, other, sameValue) }

// changes returns the differences between t and a later set.
func (t traces) changes(later traces) api.Changes {
	return api.Compare(t, later, sameValue, func(name string) int64 { return later[name].version })
}
