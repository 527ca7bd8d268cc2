package watch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/watch"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// watched is a directory with a watcher over some paths in it, and over the file sentinel.
type watched struct {
	*testing.T
	dir     string
	watcher *watch.Watcher
	told    chan []string
	stop    func() // ends the watcher and waits for it
	count   int    // of sentinels
}

func watching(t *testing.T, before func(dir string), paths ...watch.Path) *watched {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{T: t, dir: dir, told: make(chan []string, 100)}
	if before != nil {
		before(dir)
	}
	w.watcher, err = watch.New(zerolog.New(zerolog.NewTestWriter(t)))
	if err != nil {
		t.Fatal(err)
	}
	w.write("sentinel", "")
	w.set(paths...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.watcher.Run(ctx, func(paths []string) { w.told <- paths }); err != nil {
			t.Error(err)
		}
	}()
	w.stop = func() { cancel(); <-ended }
	t.Cleanup(w.stop)
	w.reports(append(w.names(paths), "sentinel")...) // every file that is new is reported
	return w
}

func (w *watched) names(paths []watch.Path) (names []string) {
	for _, p := range paths {
		names = append(names, p.Path)
	}
	return names
}

func (w *watched) set(paths ...watch.Path) {
	all := []watch.Path{{Path: filepath.Join(w.dir, "sentinel")}}
	for _, p := range paths {
		all = append(all, watch.Path{Path: filepath.Join(w.dir, p.Path), Touched: p.Touched})
	}
	w.watcher.Set(all)
}

// reports waits until exactly these paths were reported.
func (w *watched) reports(want ...string) {
	w.Helper()
	deadline := time.After(30 * time.Second)
	for missing := slices.Clone(want); len(missing) > 0; {
		select {
		case paths := <-w.told:
			for _, path := range paths {
				name := strings.TrimPrefix(path, w.dir+"/")
				if !slices.Contains(want, name) {
					w.Fatalf("reported %s, want %v", name, want)
				}
				missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
			}
		case <-deadline:
			w.Fatalf("not reported: %v", missing)
		}
	}
}

// quiet checks that earlier events weren't reported, by waiting for a later one.
func (w *watched) quiet() {
	w.Helper()
	w.count++
	w.write("sentinel", fmt.Sprint(w.count))
	w.reports("sentinel")
}

func (w *watched) at(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *watched) write(name, text string) {
	w.Helper()
	w.must(os.WriteFile(w.at(name), []byte(text), 0o600))
}

// replace replaces a file by renaming a new one, as editors do.
func (w *watched) replace(name, text string) {
	w.Helper()
	w.write(name+".new", text)
	w.must(os.Rename(w.at(name+".new"), w.at(name)))
}

// link replaces a symlink atomically.
func (w *watched) link(target, name string) {
	w.Helper()
	w.must(os.Symlink(target, w.at(name+".new")))
	w.must(os.Rename(w.at(name+".new"), w.at(name)))
}

func (w *watched) mkdir(name string) {
	w.Helper()
	w.must(os.MkdirAll(w.at(name), 0o700))
}

var file = watch.Path{Path: "d/file"}

func TestWatcher_Contents(t *testing.T) {
	w := watching(t, nil, file)
	w.mkdir("d")
	w.quiet()
	w.write("d/file", "one")
	w.reports("d/file")
	w.write("d/file", "two")
	w.reports("d/file")
	w.replace("d/file", "three")
	w.reports("d/file")

	w.replace("d/file", "three")
	w.must(os.Chtimes(w.at("d/file"), time.Now(), time.Now()))
	w.write("d/other", "x")
	w.quiet()

	w.must(os.Rename(w.at("d/file"), w.at("d/file~"))) // how vim makes its backup
	w.write("d/file", "four")
	w.reports("d/file")
	w.must(os.Remove(w.at("d/file")))
	w.reports("d/file")
	w.quiet()
	w.write("d/file", "")
	w.reports("d/file")
}

func TestWatcher_LateDirectories(t *testing.T) {
	deep := watch.Path{Path: "a/b/c/file"}
	w := watching(t, nil, deep)
	w.mkdir("a/b/c")
	w.write("a/b/c/file", "one")
	w.reports(deep.Path)
	w.must(os.RemoveAll(w.at("a")))
	w.reports(deep.Path)
	w.mkdir("a/b/c")
	w.quiet()
	w.replace("a/b/c/file", "two")
	w.reports(deep.Path)
	w.mkdir("x")
	w.write("x/file", "three")
	w.must(os.Rename(w.at("a/b/c"), w.at("a/b/old")))
	w.must(os.Rename(w.at("x"), w.at("a/b/c")))
	w.reports(deep.Path)
	w.write("a/b/c/file", "four")
	w.reports(deep.Path)
	w.write("a/b/old/file", "no longer it")
	w.quiet()
}

// The kubelet mounts secrets in this layout: file -> ..data/file, ..data -> ..1/.
func TestWatcher_Kubernetes(t *testing.T) {
	w := watching(t, nil, file)
	for i := range 3 {
		generation := fmt.Sprintf("d/..%d", i)
		w.mkdir(generation)
		w.write(generation+"/file", fmt.Sprint("content ", i))
		w.link(filepath.Base(generation), "d/..data")
		if i == 0 {
			w.link("..data/file", "d/file")
		} else {
			w.must(os.RemoveAll(w.at(fmt.Sprintf("d/..%d", i-1))))
		}
		w.reports("d/file")
	}
	w.mkdir("d/..same")
	w.write("d/..same/file", "content 2")
	w.link("..same", "d/..data")
	w.quiet()
}

func TestWatcher_Symlinks(t *testing.T) {
	w := watching(t, func(dir string) {
		for _, name := range []string{"one", "two"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name, "file"), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("one", filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
	}, file)
	w.link(w.at("two"), "d") // an absolute path
	w.reports("d/file")
	w.write("two/file", "three")
	w.reports("d/file")
	w.write("one/file", "no longer it")
	w.quiet()
	w.link("../"+filepath.Base(w.dir)+"/one", "d")
	w.reports("d/file")
	w.link("d", "d") // a loop
	w.reports("d/file")
	w.link("two", "d")
	w.reports("d/file")
}

func TestWatcher_Touched(t *testing.T) {
	out, folder := watch.Path{Path: "d/out", Touched: true}, watch.Path{Path: "d/files", Touched: true}
	w := watching(t, nil, out, folder)
	w.mkdir("d")
	w.reports("d/out", "d/files")
	w.write("d/out", "one")
	w.reports("d/out")
	w.replace("d/out", "one")
	w.reports("d/out")
	w.must(os.Chmod(w.at("d/out"), 0o640))
	w.reports("d/out")
	w.must(os.Remove(w.at("d/out")))
	w.reports("d/out")
	w.write("d/other", "")
	w.quiet()

	w.mkdir("d/files")
	w.reports("d/files")
	w.mkdir("d/files/..1")
	w.reports("d/files")
	w.write("d/files/..1/NAME", "value")
	w.reports("d/files")
	w.link("..1", "d/files/..data")
	w.reports("d/files")
	w.must(os.Remove(w.at("d/files/..1/NAME")))
	w.reports("d/files")
	w.must(os.RemoveAll(w.at("d")))
	w.reports("d/out", "d/files")
}

func TestWatcher_Set(t *testing.T) {
	w := watching(t, nil, watch.Path{Path: "a"})
	w.write("a", "1")
	w.reports("a")
	w.set(watch.Path{Path: "a"}, watch.Path{Path: "b"})
	w.reports("b")
	w.write("b", "1")
	w.reports("b")
	w.set(watch.Path{Path: "b"})
	w.write("a", "2")
	w.quiet()
	w.set()
	w.write("b", "2")
	w.quiet()
}

// A burst of changes is reported a few times at most, including the last one.
func TestWatcher_Burst(t *testing.T) {
	w := watching(t, nil, watch.Path{Path: "a"})
	for i := range 1000 {
		w.write("a", fmt.Sprint(i))
	}
	w.write("sentinel", "end")
	count := 0
	for heard := false; !heard; {
		select {
		case paths := <-w.told:
			count++
			heard = slices.Contains(paths, w.at("sentinel"))
		case <-time.After(30 * time.Second):
			t.Fatal("the last change was not reported")
		}
	}
	if count > 10 {
		t.Errorf("a burst was reported %d times", count)
	}
}

func TestWatcher_Ends(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		w := watching(t, nil, file)
		w.stop()
		w.watcher.Set(nil) // harmless
	}
	poll.Until(t, 30*time.Second, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
