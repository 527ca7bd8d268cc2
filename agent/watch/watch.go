// Package watch reports when files change.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
)

const (
	settleTime  = 100 * time.Millisecond // changes are reported once there was none for this long,
	longestTime = time.Second            // or this long after the first one
)

// Path is a path to watch.
type Path struct {
	Path string // absolute; it needn't exist
	// Touched reports every event of the path, and of what is in it if it is a directory, without reading anything.
	// Otherwise it is a file, and a change of its content is reported.
	Touched bool
}

// Watcher reports changes of files, also those by replacement, by symlinks on the way to them (as Kubernetes does), and
// in directories that are created later. It costs nothing while nothing happens. A rename of a directory above a file's
// own isn't noticed.
type Watcher struct {
	log    zerolog.Logger
	notify *fsnotify.Watcher
	wanted chan []Path // of the last Set that Run hasn't read
}

// New opens the system's watch. Run closes it.
func New(log zerolog.Logger) (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	return &Watcher{log: log, notify: notify, wanted: make(chan []Path, 1)}, nil
}

// Set watches these paths and no others. A path that wasn't watched before is reported once it is, since it may have
// changed after it was read. Set is called by one goroutine at a time.
func (w *Watcher) Set(paths []Path) {
	select {
	case <-w.wanted:
	default:
	}
	w.wanted <- slices.Clone(paths)
}

// Run calls changed with the paths that have changed, one call at a time, until ctx ends.
func (w *Watcher) Run(ctx context.Context, changed func(paths []string)) error {
	r := &watching{Watcher: w, seen: map[Path]fingerprint{}, folders: map[string]folder{}, warned: map[string]string{}, touched: map[string]bool{}}
	defer func() { _ = w.notify.Close() }()
	settle := time.NewTimer(time.Hour)
	defer settle.Stop()
	settle.Stop()
	var since time.Time // of the first event that isn't reported yet; zero: there is none
	for {
		select {
		case <-ctx.Done():
			return nil
		case r.paths = <-w.wanted:
			settle.Stop()
			since = time.Time{}
			if paths := r.check(); len(paths) > 0 {
				changed(paths)
			}
		case event, ok := <-w.notify.Events:
			if !ok {
				return nil
			}
			if !r.matters(event.Name) {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			settle.Reset(min(settleTime, max(0, longestTime-time.Since(since))))
		case err, ok := <-w.notify.Errors:
			if !ok {
				return nil
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn().Err(err).Msg("file change may have been missed")
			}
			for _, each := range r.paths {
				r.touched[each.Path] = each.Touched
			}
			since = time.Now()
			settle.Reset(0)
		case <-settle.C:
			since = time.Time{}
			if paths := r.check(); len(paths) > 0 {
				changed(paths)
			}
		}
	}
}

// watching is the state of a Run.
type watching struct {
	*Watcher
	paths   []Path // wanted ones
	seen    map[Path]fingerprint
	folders map[string]folder   // watched ones, and those that can't be, by path
	names   map[string][]string // entries that lead to a wanted path, to these; what ends in / is all of a folder
	warned  map[string]string   // directories that can't be watched, to the error that was logged
	touched map[string]bool     // wanted paths that something happened to
}

// folder is a directory as it was when it was to be watched.
type folder struct {
	fs.FileInfo
	failed bool // it can't be watched now
}

// matters reports whether an event is about a wanted path, and notes which.
func (r *watching) matters(name string) bool {
	_, self := r.folders[name]
	paths := slices.Concat(r.names[name], r.names[filepath.Dir(name)+"/"])
	if self { // a folder that was moved or removed
		for _, each := range r.paths {
			paths = append(paths, each.Path)
		}
	}
	for _, path := range paths {
		r.touched[path] = true
	}
	return len(paths) > 0
}

// check follows the wanted paths, watches what is on the way, and returns those that have changed or weren't wanted before.
func (r *watching) check() []string {
	r.follow()
	var changed []string
	seen := map[Path]fingerprint{}
	for _, each := range r.paths {
		before, known := r.seen[each]
		var now fingerprint
		if !each.Touched {
			now = fingerprintOf(each.Path)
		}
		if !known || now != before || each.Touched && r.touched[each.Path] {
			changed = append(changed, each.Path)
		}
		seen[each] = now
	}
	r.seen = seen
	clear(r.touched)
	return changed
}

// follow watches the directories that the wanted paths lead through. It repeats that until nothing has changed
// meanwhile, since what happens before a directory is watched isn't reported. A directory that can't be watched is tried once.
func (r *watching) follow() {
	maps.DeleteFunc(r.folders, func(_ string, f folder) bool { return f.failed })
	for range 10 {
		names, folders := map[string][]string{}, map[string]fs.FileInfo{}
		for _, each := range r.paths {
			for _, at := range route(each) {
				folder := filepath.Dir(at)
				if info, err := os.Stat(folder); err == nil {
					folders[folder] = info
				}
				if !slices.Contains(names[at], each.Path) {
					names[at] = append(names[at], each.Path)
				}
			}
		}
		r.names = names
		if !r.watch(folders) {
			return
		}
	}
}

// watch watches these directories and no others, and reports whether any is new.
func (r *watching) watch(folders map[string]fs.FileInfo) (moved bool) {
	list := r.notify.WatchList()
	for path, was := range r.folders {
		if now, stays := folders[path]; stays && os.SameFile(was.FileInfo, now) && (was.failed || slices.Contains(list, path)) {
			continue
		}
		delete(r.folders, path)
		if slices.Contains(list, path) {
			_ = r.notify.Remove(path) // gone by itself otherwise
		}
	}
	for path, info := range folders {
		if _, watched := r.folders[path]; watched {
			continue
		}
		moved = true
		err := r.notify.Add(path)
		switch {
		case err == nil:
			delete(r.warned, path)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case r.warned[path] != err.Error():
			r.warned[path] = err.Error()
			r.log.Warn().Err(err).Str("path", path).Msg("directory cannot be watched")
		}
		r.folders[path] = folder{info, err != nil}
	}
	return moved
}
