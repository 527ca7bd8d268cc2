package keyfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// A key's file is read again in every state that it can have during its replacement.
func TestRereadKey(t *testing.T) {
	old, fresh := api.NewKey(api.ResourceKeyPrefix), api.NewKey(api.ResourceKeyPrefix)
	half := fresh.Reveal()[:30]
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, path string) // before the refusal
		after  func(t *testing.T, path string) // a moment after it
		want   api.Key                         // zero: an error
	}{
		{"the same", func(*testing.T, string) {}, nil, old},
		{"another", func(t *testing.T, path string) { write(t, path, fresh.Reveal()) }, nil, fresh},
		{"missing for a while", remove, func(t *testing.T, path string) { write(t, path, fresh.Reveal()+"\n") }, fresh},
		{"missing", remove, nil, api.Key{}},
		{"empty for a while", func(t *testing.T, path string) { write(t, path, "") },
			func(t *testing.T, path string) { write(t, path, fresh.Reveal()) }, fresh},
		{"empty", func(t *testing.T, path string) { write(t, path, "") }, nil, api.Key{}},
		{"no key for a while", func(t *testing.T, path string) { write(t, path, half[:10]) },
			func(t *testing.T, path string) { write(t, path, fresh.Reveal()) }, fresh},
		{"a directory for a while", func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Error(err)
			}
		}, func(t *testing.T, path string) { remove(t, path); write(t, path, fresh.Reveal()) }, fresh},
		{"a pipe", func(t *testing.T, path string) {
			remove(t, path)
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Error(err)
			}
		}, nil, api.Key{}},
		{"written a moment after", func(t *testing.T, path string) { write(t, path, old.Reveal()) },
			func(t *testing.T, path string) { write(t, path, fresh.Reveal()) }, fresh},
		{"a link that is swapped", func(t *testing.T, path string) {
			remove(t, path)
			write(t, path+".2", fresh.Reveal())
			if err := os.Symlink(path+".2", path); err != nil {
				t.Error(err)
			}
		}, nil, fresh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			write(t, path, old.Reveal())
			long := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, long, long); err != nil {
				t.Fatal(err)
			}
			found, err := Read(path, false, anyKey)
			if err != nil {
				t.Fatal(err)
			}
			tt.before(t, path)
			if tt.after != nil {
				timer := time.AfterFunc(3*retry, func() { tt.after(t, path) })
				defer timer.Stop()
			}
			key, err := found.Reread()(t.Context(), old)
			switch {
			case tt.want.Len() == 0 && err == nil:
				t.Error("no error")
			case tt.want.Len() > 0 && (err != nil || !key.Equal(tt.want.Value)):
				t.Errorf("another key than wanted, error %v", err)
			}
		})
	}
	t.Run("half a key", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, half)
		found, err := Read(path, false, anyKey)
		if err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(3*retry, func() { write(t, path, fresh.Reveal()) })
		defer timer.Stop()
		if key, err := found.Reread()(t.Context(), found.Key); err != nil || !key.Equal(fresh.Value) {
			t.Errorf("not the whole key, error %v", err)
		}
	})
	t.Run("the end of the call", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, old.Reveal())
		found, err := Read(path, false, anyKey)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := found.Reread()(ctx, old); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
}

// A source that can be read only once is not read again.
func TestRereadKeyOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(path, []byte(api.NewKey(api.ResourceKeyPrefix).Reveal()), 0o600) }()
	found, err := Read(path, false, anyKey)
	if err != nil {
		t.Fatal(err)
	}
	if found.Reread() != nil {
		t.Error("a pipe is read again")
	}
	if (Key{Key: found.Key, Where: "MIOSA_API_KEY"}).Reread() != nil {
		t.Error("a variable is read again")
	}
}

func anyKey(string, api.Key) error { return nil }
