// Package revocation keeps a list of revoked keys in a text file next to the database. A database that is restored from
// an older backup, or into which an older row is written, doesn't have its newest revocations; the file still does.
//
// The file has one line for each key: its id, the time from which on it is refused, and its tenant, which lines of earlier
// versions don't have. Lines are added at the end. Compact removes those that a Retention doesn't keep: it replaces the file.
package revocation

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/internal/newfile"
)

// Ended is a key that is refused from a time on.
type Ended struct {
	ID, Tenant string
	At         time.Time // in microseconds
}

// entry is a line without its id.
type entry struct {
	end    int64 // microseconds since 1970
	tenant string
}

// List is the list of a file. It is safe for concurrent use, and several processes may use the same file.
type List struct {
	path string

	file   sync.Mutex  // guards the fields below, and what this process does with the file
	read   fs.FileInfo // of the file as it was read; nil: there was none
	offset int64       // after the last line that was read

	mu      sync.RWMutex // guards the field below; is locked after file, and not while the file is written
	entries map[string]entry
}

// Open reads the list in a file. A missing file is an empty list.
func Open(path string) (*List, error) {
	l := &List{path: path, entries: map[string]entry{}}
	return l, l.Refresh()
}

// Path is the file's path.
func (l *List) Path() string { return l.path }

// Refuses reports whether a key is listed, and its time has come.
func (l *List) Refuses(id string, now time.Time) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e, listed := l.entries[id]
	return listed && e.end <= now.UnixMicro()
}

// Refused returns the keys that are refused, with their times.
func (l *List) Refused(now time.Time) map[string]time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	refused := map[string]time.Time{}
	for id, e := range l.entries {
		if e.end <= now.UnixMicro() {
			refused[id] = time.UnixMicro(e.end)
		}
	}
	return refused
}

// Refresh reads what is new in the file. What was read before stays listed, even if the file has lost it.
func (l *List) Refresh() error {
	l.file.Lock()
	defer l.file.Unlock()
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.read != nil && os.SameFile(l.read, info) && l.read.Size() == info.Size() && l.read.ModTime().Equal(info.ModTime()) {
		return nil
	}
	f, err := l.locked(os.O_RDONLY, unix.LOCK_SH) // lines that are being added may be cut off again
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return l.readFile(f)
}

// readFile reads the lines that were added to the file since it was last read; if it was replaced or is shorter now, all.
func (l *List) readFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if l.read == nil || !os.SameFile(l.read, info) || info.Size() < l.offset {
		l.offset = 0
	}
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		l.list(line, info.ModTime())
		if errors.Is(err, io.EOF) { // a line without an end is read again with it
			l.read = info
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", l.path, err)
		}
		l.offset += int64(len(line))
	}
}

// list adds a line. A time that isn't valid, as in a line that was cut off, is replaced by another.
func (l *List) list(line string, other time.Time) {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return
	}
	e := Ended{ID: fields[0], At: other}
	if len(fields) > 1 {
		if at, err := time.Parse(time.RFC3339Nano, fields[1]); err == nil {
			e.At = at
		}
	}
	if len(fields) > 2 {
		e.Tenant = fields[2]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(e)
}

// put lists a key; the earliest of its times counts.
func (l *List) put(e Ended) {
	end := e.At.UnixMicro()
	if before, listed := l.entries[e.ID]; !listed || end < before.end {
		l.entries[e.ID] = entry{end, e.Tenant}
	}
}

// Add lists keys. When it returns, the lines are on the disk; after an error the list is as before. Keys that are listed with
// the same or an earlier time are skipped. undo takes the others off the list again, as they were before.
func (l *List) Add(keys []Ended) (undo func() error, err error) {
	l.file.Lock()
	defer l.file.Unlock()
	var lines strings.Builder
	before := map[string]entry{} // of the keys that are added; zero: not listed
	l.mu.RLock()
	for _, k := range keys {
		if e, listed := l.entries[k.ID]; !listed || k.At.UnixMicro() < e.end {
			writeLine(&lines, k)
			before[k.ID] = e
		}
	}
	l.mu.RUnlock()
	if lines.Len() == 0 {
		return func() error { return nil }, nil
	}
	if err := l.append(lines.String()); err != nil {
		return nil, fmt.Errorf("list of revoked keys: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.put(k)
	}
	return func() error { return l.undo(before) }, nil
}

// undo lists keys as they were before. An entry that was changed since then by another process is lost with it; who lists
// the same key at the same time means the same.
func (l *List) undo(before map[string]entry) error {
	l.file.Lock()
	defer l.file.Unlock()
	return l.rewrite(func(entries map[string]entry) bool {
		for id, e := range before {
			if entries[id] = e; e == (entry{}) {
				delete(entries, id)
			}
		}
		return true
	})
}

func writeLine(to *strings.Builder, k Ended) {
	fmt.Fprintln(to, strings.TrimSpace(k.ID+" "+k.At.UTC().Format(time.RFC3339Nano)+" "+k.Tenant))
}

// append writes lines to the end of the file, while no other process replaces or reads it. After an error the file is as before.
func (l *List) append(lines string) (err error) {
	f, err := l.locked(os.O_RDWR|os.O_CREATE|os.O_APPEND, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, cut, err := endOf(f)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Truncate(size))
		}
	}()
	if cut {
		lines = "\n" + lines
	}
	if _, err := io.WriteString(f, lines); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// Another process may have created or replaced the file, and not synced its name yet.
	path, err := filepath.EvalSymlinks(l.path)
	if err != nil {
		return err
	}
	return newfile.SyncFolder(filepath.Dir(path))
}

// locked opens the file, and locks it until it is closed: against other processes with unix.LOCK_EX, against those that change it
// with unix.LOCK_SH.
func (l *List) locked(flag, lock int) (*os.File, error) {
	for {
		f, err := os.OpenFile(l.path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), lock)
		}
		if err == nil && isAt(f, l.path) {
			return f, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		// Another process has replaced it in the meantime.
	}
}

// isAt reports whether a path leads to an open file.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(opened, there)
}

// endOf returns the size of a file. cut reports whether its last line has no end: the process or the machine that wrote it has
// crashed.
func endOf(f *os.File) (size int64, cut bool, err error) {
	size, err = f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return size, false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, size-1)
	return size, last[0] != '\n', err
}

// Compact removes the keys that keep doesn't keep, from the list and from the file, and returns their number. The file is
// replaced: after a crash it has all lines or those that are kept.
func (l *List) Compact(keep Retention, now time.Time) (removed int, err error) {
	l.file.Lock()
	defer l.file.Unlock()
	err = l.rewrite(func(entries map[string]entry) bool {
		surplus := keep.surplus(entries, now)
		for _, id := range surplus {
			delete(entries, id)
		}
		removed = len(surplus)
		return removed > 0
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// rewrite replaces the list and the file by what change makes of them; change returns false if that is nothing new. Without a
// file it does nothing. The caller holds l.file.
func (l *List) rewrite(change func(entries map[string]entry) bool) (err error) {
	f, err := l.locked(os.O_RDWR, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := l.readFile(f); err != nil { // what other processes have added
		return err
	}
	l.mu.RLock()
	entries := maps.Clone(l.entries)
	l.mu.RUnlock()
	if !change(entries) {
		return nil
	}
	if err := l.replace(entries); err != nil {
		return fmt.Errorf("list of revoked keys: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = entries
	return nil
}

// replace replaces the file, which is locked.
func (l *List) replace(entries map[string]entry) error {
	path, err := filepath.EvalSymlinks(l.path)
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
		return err
	}
	err = newfile.Write(temp, func() (string, error) {
		var text strings.Builder
		for _, id := range slices.Sorted(maps.Keys(entries)) {
			writeLine(&text, Ended{id, entries[id].tenant, time.UnixMicro(entries[id].end)})
		}
		return text.String(), nil
	})
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	l.read, l.offset = nil, 0 // it is read again
	return newfile.SyncFolder(filepath.Dir(path))
}
