package cache_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
	"github.com/google/go-cmp/cmp"
)

func cacheAt(t testing.TB, path string, key string) *cache.Cache {
	t.Helper()
	parsed, err := api.ParseKey(key)
	must(t, err)
	c, err := cache.New(cache.Config{Path: path, Key: parsed, Resource: agenttest.Sandbox})
	must(t, err)
	return c
}

const someKey = "msk_r_abcdefghijklmnopqrstuvwxyz0123456789"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plaintext returns labels and values to compare.
func plaintext(s api.Snapshot) map[api.Label]string {
	out := map[api.Label]string{}
	for _, b := range s.Bound {
		expires := b.ExpiresAt
		b.ExpiresAt = nil
		text := b.Value.Reveal()
		if expires != nil {
			text += expires.String()
		}
		out[b.Label] = text
	}
	return out
}

func TestCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "set")
	c := cacheAt(t, path, someKey)
	if _, _, err := c.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a file: %v", err)
	}
	at := time.Now().Add(-time.Minute)
	for _, set := range []api.Snapshot{agenttest.Varied(), {Resource: agenttest.Sandbox, Etag: "empty"}, agenttest.Snapshot(4)} {
		if err := c.Save(set, at); err != nil {
			t.Fatal(err)
		}
		got, when, err := c.Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plaintext(got), plaintext(set)); diff != "" || got.Etag != set.Etag || got.Resource != agenttest.Sandbox || !when.Equal(at) {
			t.Errorf("etag %s, confirmed %s (-got +want):\n%s", got.Etag, when, diff)
		}
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}
	for range 2 {
		if err := c.Wipe(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := c.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after wiping: %v", err)
	}
}

// The file contains no part of a value or the key, and two saves give different files.
func TestCacheIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	c, seen := cacheAt(t, path, someKey), map[string]bool{}
	for range 20 {
		if err := c.Save(agenttest.Varied(), time.Unix(1700000000, 0)); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"canary", "msk_", "TOKEN", "sec_1", "miosa-tok"} {
			if bytes.Contains(file, []byte(word)) {
				t.Errorf("%q is in the file", word)
			}
		}
		for _, part := range [][]byte{file[17:49], file[49:61], file[len(file)-16:]} { // salt, nonce, tag
			if seen[string(part)] {
				t.Error("two files have the same salt, nonce or tag")
			}
			seen[string(part)] = true
		}
	}
}

func TestCacheRefuses(t *testing.T) {
	other, _ := api.ParseKey("msk_r_zyxwvutsrqponmlkjihgfedcba9876543210")
	key, _ := api.ParseKey(someKey)
	elsewhere := api.Resource{Type: api.Sandbox, ID: "sb_2"}
	for _, tt := range []struct {
		name   string
		saved  time.Duration // before the load
		change func(t *testing.T, conf *cache.Config)
		want   error
	}{
		{"another key", 0, func(_ *testing.T, c *cache.Config) { c.Key = other }, cache.ErrDamaged},
		{"another resource", 0, func(_ *testing.T, c *cache.Config) { c.Resource = elsewhere }, cache.ErrForeign},
		{"too old", 24*time.Hour + time.Second, nil, cache.ErrOld},
		{"almost too old", 24*time.Hour - time.Minute, nil, nil},
		{"older than a short maximum age", 2 * time.Minute, func(_ *testing.T, c *cache.Config) { c.MaxAge = time.Minute }, cache.ErrOld},
		{"from the future", -6 * time.Minute, nil, cache.ErrFuture},
		{"a clock that is a little off", -4 * time.Minute, nil, nil},
		{"writable by others", 0, func(t *testing.T, c *cache.Config) { must(t, os.Chmod(c.Path, 0o622)) }, cache.ErrUnsafe},
		{"in a folder writable by others", 0, func(t *testing.T, c *cache.Config) { must(t, os.Chmod(filepath.Dir(c.Path), 0o777)) }, cache.ErrUnsafe},
		{"symlink", 0, func(t *testing.T, c *cache.Config) {
			must(t, os.Rename(c.Path, c.Path+"2"))
			must(t, os.Symlink(c.Path+"2", c.Path))
		}, cache.ErrUnsafe},
		{"directory", 0, func(t *testing.T, c *cache.Config) {
			must(t, os.Remove(c.Path))
			must(t, os.Mkdir(c.Path, 0o700))
		}, cache.ErrUnsafe},
		{"empty", 0, func(t *testing.T, c *cache.Config) { must(t, os.Truncate(c.Path, 0)) }, cache.ErrDamaged},
		{"huge", 0, func(t *testing.T, c *cache.Config) { must(t, os.Truncate(c.Path, 1<<40)) }, cache.ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			conf := cache.Config{Path: filepath.Join(dir, "set"), Key: key, Resource: agenttest.Sandbox}
			c, err := cache.New(conf)
			if err != nil {
				t.Fatal(err)
			}
			must(t, c.Save(agenttest.Varied(), time.Now().Add(-tt.saved)))
			if tt.change != nil {
				tt.change(t, &conf)
			}
			if c, err = cache.New(conf); err != nil {
				t.Fatal(err)
			}
			set, _, err := c.Load()
			if !errors.Is(err, tt.want) || (err != nil) != (set.Bound == nil) {
				t.Errorf("error %v, want %v; %d values", err, tt.want, len(set.Bound))
			}
		})
	}
}

// Save refuses a directory in which other users could replace the cache, and changes nothing if it fails.
func TestCacheSaveRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := cacheAt(t, filepath.Join(dir, "set"), someKey)
	must(t, c.Save(agenttest.Snapshot(1), time.Now()))
	must(t, os.Chmod(dir, 0o777))
	if err := c.Save(agenttest.Snapshot(2), time.Now()); !errors.Is(err, cache.ErrUnsafe) {
		t.Errorf("error %v", err)
	}
	must(t, os.Chmod(dir, 0o700))
	foreign := agenttest.Snapshot(2)
	foreign.Resource.ID = "sb_2"
	if err := c.Save(foreign, time.Now()); !errors.Is(err, cache.ErrForeign) {
		t.Errorf("another resource's set: %v", err)
	}
	if set, _, err := c.Load(); err != nil || set.Bound[0].Value.Reveal() != "canary-1" {
		t.Errorf("the old cache is gone: %v", err)
	}
	old := filepath.Join(dir, ".set.new-0011223344556677")
	must(t, os.WriteFile(old, nil, 0o600))
	must(t, os.Chtimes(old, time.Now(), time.Now().Add(-2*time.Minute)))
	must(t, c.Save(agenttest.Snapshot(3), time.Now()))
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files: that of an interrupted save was not removed", len(entries))
	}
}

func TestCacheConfigRefuses(t *testing.T) {
	dir := t.TempDir()
	key, _ := api.ParseKey(someKey)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	good := cache.Config{Path: filepath.Join(dir, "set"), Key: key, Resource: agenttest.Sandbox, KeyFile: filepath.Join(dir, "other", "key")}
	for _, tt := range []struct {
		name   string
		change func(*cache.Config)
		want   string
	}{
		{"fine", func(*cache.Config) {}, ""},
		{"relative", func(c *cache.Config) { c.Path = "set" }, "isn't absolute"},
		{"beside its key", func(c *cache.Config) { c.KeyFile = filepath.Join(dir, "key") }, "beside its key"},
		{"beside its key, through a link", func(c *cache.Config) { c.KeyFile = filepath.Join(link, "key") }, "beside its key"},
		{"no key", func(c *cache.Config) { c.Key = api.Key{} }, "needs the key"},
		{"negative", func(c *cache.Config) { c.MaxAge = -1 }, "is negative"},
		{"no resource", func(c *cache.Config) { c.Resource = api.Resource{} }, "resource_type is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := good
			tt.change(&conf)
			_, err := cache.New(conf)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Loading any file returns the set that was saved, or an error.
func FuzzCache(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "seed")
	c := cacheAt(f, path, someKey)
	if err := c.Save(agenttest.Varied(), time.Now()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	want := plaintext(agenttest.Varied())
	f.Add(0, 0, []byte(nil))
	f.Add(len(whole)-1, 1, []byte(nil))
	f.Add(16, 1, []byte{2})
	f.Add(61, 8, []byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add(69, 2, []byte{0xff, 0xff})
	f.Add(69, 2, []byte{0, 0})
	f.Add(0, len(whole), []byte("miosa-env cache\n\x01"))
	f.Fuzz(func(t *testing.T, at, drop int, put []byte) {
		if at < 0 || at > len(whole) || drop < 0 || drop > len(whole)-at {
			t.Skip()
		}
		file := append(append(bytes.Clone(whole[:at]), put...), whole[at+drop:]...)
		path := filepath.Join(t.TempDir(), "set")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		set, _, err := cacheAt(t, path, someKey).Load()
		switch {
		case err != nil && set.Bound != nil:
			t.Error("an error and values")
		case err != nil && bytes.Equal(file, whole):
			t.Errorf("the saved file does not open: %v", err)
		case err == nil && cmp.Diff(plaintext(set), want) != "":
			t.Error("a file that was not saved opens")
		}
	})
}

// Concurrent saves and loads never see a partial file.
func TestCacheBetweenProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set")
	must(t, cacheAt(t, path, someKey).Save(agenttest.Snapshot(1), time.Now()))
	done := make(chan error, 4)
	for range 3 {
		go func() {
			c := cacheAt(t, path, someKey)
			for i := range 50 {
				if err := c.Save(agenttest.Snapshot(int64(i+2)), time.Now()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	go func() {
		c := cacheAt(t, path, someKey)
		for range 200 {
			if _, _, err := c.Load(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkCacheLoad100(b *testing.B) {
	path := filepath.Join(b.TempDir(), "set")
	c := cacheAt(b, path, someKey)
	more := []api.Bound{}
	for range 99 {
		more = append(more, api.Bound{Label: api.Label{ID: "bnd", SecretID: "sec", ExposeAsEnv: "NAME", Version: 1}, Value: api.NewValue(bytes.Repeat([]byte("v"), 64))})
	}
	if err := c.Save(agenttest.Snapshot(1, more...), time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Load(); err != nil {
			b.Fatal(err)
		}
	}
}
