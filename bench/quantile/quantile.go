// Package quantile computes the figures of benchmarks.
package quantile

import (
	"cmp"
	"slices"
)

// Of returns the value that the fraction q of the values, of which there is at least one, doesn't exceed.
func Of[T cmp.Ordered](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
