package socket_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/agenttest"
)

// The kernel reports 65534 for users and groups that a user namespace doesn't know. A socket serves nobody because of these ids: not
// if they are allowed, and not if the agent itself has them.
func TestAttack_OverflowUser(t *testing.T) {
	t.Run("allowed", func(t *testing.T) {
		at := agenttest.Serve(t, newFakeEngine(many(3)), peer.List{UIDs: []uint32{65534}, GIDs: []uint32{65534}})
		for name, client := range map[string]*exec.Cmd{
			"user": other(t, "ask "+at.Path(), 65534, 5001), "group": other(t, "ask "+at.Path(), 5001, 65534),
			"supplementary group": other(t, "ask "+at.Path(), 5001, 5001, 65534),
		} {
			if out, err := client.CombinedOutput(); err != nil || string(out) != "denied" {
				t.Errorf("%s: %q, %v, want denied", name, out, err)
			}
		}
	})
	for _, tt := range []struct {
		name string
		maps []syscall.SysProcIDMap
		as   string
	}{
		{"agent in a namespace that knows root", []syscall.SysProcIDMap{{Size: 1}}, "0"},
		{"agent in a namespace that knows nobody", nil, "65534"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needs.Root(t, "to be other users")
			dir, err := os.MkdirTemp("", "overflow")
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			must(t, os.Chmod(dir, 0o755))
			path := filepath.Join(dir, "agent.sock")
			server := exec.CommandContext(t.Context(), "/proc/self/exe")
			server.Env = []string{asOther + "=serve " + path}
			server.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: tt.maps, GidMappings: tt.maps}
			out, err := server.StdoutPipe()
			must(t, err)
			if err := server.Start(); err != nil {
				needs.System(t, "user namespaces: %v", err)
			}
			t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != fmt.Sprintf("serving as %s\n", tt.as) {
				t.Fatalf("%q, %v", line, err)
			}
			if out, err := other(t, "ask "+path, 5001, 5001).CombinedOutput(); err != nil || string(out) != "denied" {
				t.Errorf("%q, %v, want denied", out, err)
			}
		})
	}
}
