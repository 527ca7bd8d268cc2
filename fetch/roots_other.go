//go:build !linux

package fetch

// bundles is empty: other systems have stores of their own, which Go asks.
var bundles []string
