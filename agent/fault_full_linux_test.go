package agent_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// The file system of an output becomes full while the agent runs. The old file stays unchanged, the status has the error,
// other outputs get the new set, and so does the file once there is room.
func TestFault_A2_TmpfsFullUnderARunningAgent(t *testing.T) {
	dir := t.TempDir()
	needs.Granted(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=700"), "a tmpfs of a size of its own")
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	v := vaulttest.Start(t)
	secret := v.Put(t, "token", "canary-old", sandbox, "TOKEN")
	path := filepath.Join(dir, "env")
	out, err := output.New(output.Config{Format: "systemd", Path: path, Log: zerolog.Nop()})
	must(t, err)
	defer out.Close()
	a, stop := realAgent(t, v.BaseURL, v.ResourceKey(t, sandbox).Reveal(), agent.Config{Outputs: []agent.Output{out}})
	defer stop()
	is := func(state agent.OutputState) func() bool {
		return func() bool { return a.Status().Outputs[0].State == state }
	}
	poll.Until(t, 20*time.Second, "the file is written", is(agent.Written))
	before, err := os.ReadFile(path)
	must(t, err)

	must(t, os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 200<<10), 0o600))
	large := strings.Repeat("n", 60_000)
	v.Rotate(t, secret, large)
	poll.Until(t, 20*time.Second, "the status is failed", is(agent.Failed))
	for range 3 { // also after further attempts
		set, s := a.Snapshot()
		if o := s.Outputs[0]; o.Name != path || !strings.Contains(o.Error, "its file system is full") || !strings.Contains(o.Error, "the old content stays") || s.State != agent.Fresh {
			t.Errorf("state %s, output %+v", s.State, o)
		}
		if first(set) != large {
			t.Error("the new set isn't served")
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
			t.Errorf("the file has %d bytes: %v", len(now), err)
		}
		poll.Until(t, 30*time.Second, "temporary files are removed", func() bool {
			entries, err := os.ReadDir(dir)
			return err == nil && len(entries) == 2
		})
		<-time.After(300 * time.Millisecond)
	}
	must(t, os.Remove(filepath.Join(dir, "ballast")))
	poll.Until(t, 20*time.Second, "the file is written again", is(agent.Written))
	if now, err := os.ReadFile(path); err != nil || !bytes.Contains(now, []byte(large)) {
		t.Errorf("the file has %d bytes: %v", len(now), err)
	}
	if o := a.Status().Outputs[0]; o.Error != "" {
		t.Errorf("the status still has %q", o.Error)
	}
}
