package program

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MemoryFolders returns the folders that usually are in memory, XDG_RUNTIME_DIR first, if it is set.
func MemoryFolders(e Environment) []string {
	folders := []string{"/run", "/dev/shm"}
	if own := e.Get("XDG_RUNTIME_DIR"); filepath.IsAbs(own) {
		folders = append([]string{own}, folders...)
	}
	return folders
}

// InMemory reports whether the files of a folder never reach a disk; false if there is no such folder.
func InMemory(folder string) bool {
	var at unix.Statfs_t
	return unix.Statfs(folder, &at) == nil && (at.Type == unix.TMPFS_MAGIC || at.Type == unix.RAMFS_MAGIC)
}
