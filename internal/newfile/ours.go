package newfile

import (
	"io/fs"
	"os"
	"syscall"
)

// Ours reports whether only this user and root may change a file.
func Ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}
