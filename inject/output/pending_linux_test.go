package output_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// TestOutputHookPending checks that a hook that was interrupted is run once by the next Output that finds the set in
// place, and that Remove cancels it.
func TestOutputHookPending(t *testing.T) {
	for format, mark := range map[string]string{"shell": "/.out.miosa-owed", "files": "/out/..hook.miosa-owed"} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			with := func(hook string) (*output.Output, *logged) {
				log := &logged{}
				return newOutput(t, format, dir+"/out", func(c *output.Config) { c.Log, c.Hook = zerolog.New(log), hook }), log
			}
			owed := func() bool { _, err := os.Lstat(dir + mark); return err == nil }

			o, log := with("echo begun; exec sleep 1000")
			write(t, o, "A", "1")
			poll.Until(t, 10*time.Second, "the hook", func() bool { return strings.Contains(log.String(), "begun") })
			if !owed() {
				t.Error("nothing says that a hook is owed")
			}
			o.Close()
			o, log = with("true")
			write(t, o, "A", "1")
			log.done(t, 1, "hook done")
			poll.Until(t, 10*time.Second, "nothing is owed", func() bool { return !owed() })
			if strings.Contains(log.String(), "output written") {
				t.Error("it was written again")
			}
			o, log = with("true") // and no more than that
			write(t, o, "A", "1")
			write(t, o, "A", "2")
			log.done(t, 1, "hook done")
			o.Close()

			o, log = with("echo begun; exec sleep 1000")
			write(t, o, "A", "3")
			poll.Until(t, 10*time.Second, "the hook", func() bool { return strings.Contains(log.String(), "begun") })
			o.Close()
			if err := o.Remove(); err != nil || owed() {
				t.Errorf("something is owed for what isn't there: %v", err)
			}
		})
	}
}

// A write that fails after the set is in place is completed by the next one: the hook runs, and nothing of the earlier set is left.
func TestOutputHookAfterFailedWrite(t *testing.T) {
	var log logged
	path := filepath.Join(inMemory(t), "secrets")
	o := newOutput(t, output.Files, path, func(c *output.Config) { c.Hook, c.Log = "true", zerolog.New(&log) })
	write(t, o, "A", "1")
	log.done(t, 1, "hook done")
	block := filepath.Join(path, inForce(t, path), "another's", "folder")
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := o.Write(snapshot("A", "2")); err == nil {
			t.Fatal("the earlier set is still there, and the write succeeded")
		}
	}
	if err := os.RemoveAll(filepath.Dir(block)); err != nil {
		t.Fatal(err)
	}
	write(t, o, "A", "2")
	log.done(t, 2, "hook done")
	generations, err := filepath.Glob(filepath.Join(path, "..2*"))
	if err != nil || len(generations) != 1 {
		t.Errorf("%d generations, %v", len(generations), err)
	}
	write(t, o, "A", "2")
	if _, _, hooks, _ := o.Counts(); hooks != 2 {
		t.Errorf("%d hooks", hooks)
	}
}

// Another user, who may write to an output's directory, can't have its hook run: only a record of the agent's user counts. The next
// change replaces what is in its place.
func TestAttack_ForeignHookRecord(t *testing.T) {
	const other = 12345
	for name, plant := range map[string]func(dir, path string) error{
		"another's file": func(_, path string) error {
			needs.Root(t, "to give files away")
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, other, other))
		},
		"a symlink":      func(dir, path string) error { return os.Symlink(dir+"/own", path) },
		"a link":         func(dir, path string) error { return os.Link(dir+"/own", path) },
		"a file of text": func(_, path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := inMemory(t)
			mark := dir + "/.out.miosa-owed"
			if err := os.WriteFile(dir+"/own", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			write(t, newOutput(t, "shell", dir+"/out", func(*output.Config) {}), "A", "1")
			if err := plant(dir, mark); err != nil {
				t.Fatal(err)
			}
			log := &logged{}
			with := func(hook string) *output.Output {
				return newOutput(t, "shell", dir+"/out", func(c *output.Config) { c.Log, c.Hook = zerolog.New(log), hook })
			}
			o := with("exec sleep 1000")
			write(t, o, "A", "1")
			o.Close() // waits for a hook that runs
			if strings.Contains(log.String(), "hook") {
				t.Errorf("the hook ran:\n%s", log)
			}
			o = with("echo begun; exec sleep 1000")
			write(t, o, "A", "2")
			poll.Until(t, 10*time.Second, "the hook", func() bool { return strings.Contains(log.String(), "begun") })
			info, err := os.Lstat(mark)
			if err != nil || !info.Mode().IsRegular() || info.Size() != 0 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
				t.Errorf("the record is not the agent's: %v, %v", info, err)
			}
			o.Close()
			if err := o.Remove(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(dir + "/own"); err != nil {
				t.Error(err)
			}
		})
	}
}
