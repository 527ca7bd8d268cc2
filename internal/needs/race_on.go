//go:build race

package needs

// Raced reports whether the race detector runs, which multiplies time and memory, and maps all of the address space.
const Raced = true
