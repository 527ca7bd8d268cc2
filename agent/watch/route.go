package watch

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxContent is how much of a file is read, in bytes.
const maxContent = 1 << 20

// mostLinks is how many symlinks a path may lead through, as for Linux itself.
const mostLinks = 40

// route returns the entries of directories that decide where a path leads: each symlink on the way, and
// the file in the end or whatever is missing first. Their directories are real ones. A directory that is
// watched for what is in it ends in "/": itself, and those within.
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
			if links++; err != nil || links > mostLinks {
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

// within returns a directory and those in it, each with "/" at its end.
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

// fingerprint identifies a content; there is one for all files that can't be read.
type fingerprint struct {
	there bool
	hash  [sha256.Size]byte
}

// fingerprintOf reads a file, which may hold a key: nothing of it stays in memory. A file that isn't regular counts as
// missing, since reading a pipe could block.
func fingerprintOf(path string) (seen fingerprint) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return seen
	}
	f, err := os.Open(path)
	if err != nil {
		return seen
	}
	defer func() { _ = f.Close() }()
	buffer := make([]byte, 16<<10)
	defer clear(buffer)
	hash := sha256.New()
	for left := maxContent; left > 0; {
		n, err := f.Read(buffer[:min(len(buffer), left)])
		hash.Write(buffer[:n])
		left -= n
		if err == io.EOF {
			seen.there = true
			hash.Sum(seen.hash[:0])
			return seen
		}
		if err != nil {
			return seen
		}
	}
	seen.there = true
	hash.Sum(seen.hash[:0])
	return seen
}
