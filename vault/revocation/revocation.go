// Package revocation keeps a list of revoked keys in a text file next to the database. A database that is restored from
// an older backup, or into which an older row is written, doesn't have its newest revocations; the file still does.
//
// The file has one line for each key: its id, and the time from which on it is refused. Lines are only added.
package revocation

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// List is the list of a file. It is safe for concurrent use, and several processes may add to the same file.
type List struct {
	path string

	mu   sync.RWMutex // guards the fields below
	ends map[string]time.Time
	read fs.FileInfo // of the file as it was read; nil: there was none
}

// Open reads the list in a file. A missing file is an empty list.
func Open(path string) (*List, error) {
	l := &List{path: path, ends: map[string]time.Time{}}
	return l, l.Refresh()
}

// Path is the file's path.
func (l *List) Path() string { return l.path }

// Refuses reports whether a key is listed, and its time has come.
func (l *List) Refuses(id string, now time.Time) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	end, listed := l.ends[id]
	return listed && !end.After(now)
}

// Refused returns the keys that are refused, with their times.
func (l *List) Refused(now time.Time) map[string]time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	refused := map[string]time.Time{}
	for id, end := range l.ends {
		if !end.After(now) {
			refused[id] = end
		}
	}
	return refused
}

// Refresh reads the file again if it has changed. What was read before stays listed, even if the file has lost it.
func (l *List) Refresh() error {
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read != nil && os.SameFile(l.read, info) && l.read.Size() == info.Size() && l.read.ModTime().Equal(info.ModTime()) {
		return nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		l.list(lines.Text(), info.ModTime())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", l.path, err)
	}
	l.read = info
	return nil
}

// list adds a line. A time that isn't valid, as in a line that was cut off, is replaced by another.
func (l *List) list(line string, other time.Time) {
	id, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	if id == "" {
		return
	}
	end, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		end = other
	}
	l.put(id, end)
}

// put lists a key; the earliest of its times counts.
func (l *List) put(id string, end time.Time) {
	if before, listed := l.ends[id]; !listed || end.Before(before) {
		l.ends[id] = end
	}
}

// Add lists keys with the times from which on they are refused. When it returns, the lines are on the disk. Keys that
// are listed with the same or an earlier time are skipped.
func (l *List) Add(ends map[string]time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines strings.Builder
	for id, end := range ends {
		if before, listed := l.ends[id]; !listed || end.Before(before) {
			fmt.Fprintf(&lines, "%s %s\n", id, end.UTC().Format(time.RFC3339Nano))
		}
	}
	if lines.Len() == 0 {
		return nil
	}
	if err := l.append(lines.String()); err != nil {
		return fmt.Errorf("list of revoked keys: %w", err)
	}
	for id, end := range ends {
		l.put(id, end)
	}
	return nil
}

// append writes lines to the end of the file in one write, so those of several processes don't mix.
func (l *List) append(lines string) (err error) {
	_, statErr := os.Stat(l.path)
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if cut, err := cutOff(f); err != nil {
		return err
	} else if cut {
		lines = "\n" + lines
	}
	if _, err := io.WriteString(f, lines); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		return syncFolder(filepath.Dir(l.path))
	}
	return nil
}

// cutOff reports whether the last line of a file has no end: the process or the machine that wrote it has crashed.
func cutOff(f *os.File) (bool, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, size-1)
	return last[0] != '\n', err
}

// syncFolder makes a new file's name durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
