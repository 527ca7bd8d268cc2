//go:build !linux

package program

// MemoryFolders returns nil: what is in memory is only known on Linux.
func MemoryFolders(Environment) []string { return nil }

// InMemory returns false.
func InMemory(string) bool { return false }
