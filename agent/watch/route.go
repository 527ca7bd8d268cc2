package watch

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxContent = 1 << 20 // bytes of a file that are read
	maxLinks   = 40      // symlinks that a path may lead through, as in Linux
)

// route returns the directory entries that decide where a path leads: each symlink on the way, and the file itself or the
// first entry that is missing. Their directories contain no symlinks. A path that ends in "/" stands for everything in
// that directory.
func route(w Path) []string {
	var entries []string
	at, rest := "/", strings.Split(strings.Trim(filepath.Clean(w.Path), "/"), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		entry := filepath.Join(at, part)
		info, err := os.Lstat(entry)
		switch {
		case err != nil:
			return append(entries, entry)
		case info.Mode()&os.ModeSymlink != 0:
			entries = append(entries, entry)
			target, err := os.Readlink(entry)
			if links++; err != nil || links > maxLinks {
				return entries
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case !info.IsDir():
			return append(entries, entry)
		case len(rest) == 0:
			entries = append(entries, entry)
			if w.Touched {
				entries = append(entries, within(entry)...)
			}
			return entries
		default:
			at = entry
		}
	}
	return append(entries, at)
}

// within returns a directory and its subdirectories, each with "/" at its end.
func within(directory string) []string {
	all := []string{directory + "/"}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return all
	}
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(directory, e.Name())+"/")
		}
	}
	return all
}

// fingerprint identifies a content. It is zero for all files that can't be read.
type fingerprint [sha256.Size]byte

// fingerprintOf reads a file, which may hold a key: none of it stays in memory. A file that isn't regular counts as
// missing, since reading a pipe could block.
func fingerprintOf(path string) (sum fingerprint) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return sum
	}
	f, err := os.Open(path)
	if err != nil {
		return sum
	}
	defer func() { _ = f.Close() }()
	buffer := make([]byte, 16<<10)
	defer clear(buffer)
	hash := sha256.New()
	if _, err := io.CopyBuffer(hash, io.LimitReader(f, maxContent), buffer); err == nil {
		hash.Sum(sum[:0])
	}
	return sum
}
