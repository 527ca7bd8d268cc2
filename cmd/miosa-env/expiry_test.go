package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A secret expires while the vault is unavailable: it disappears from the agent's env file and socket, a command
// that follows changes is restarted once without it, a start from the cache does not get it, and the status names
// it.
func TestExpiryWithoutAVault(t *testing.T) {
	needs.Long(t, "ten seconds of real time until the expiry")
	s := newScriptVault(t)
	s.put("STAYS", "lasting", "")
	expires := time.Now().Add(8 * time.Second)
	s.PutSecret(t, map[string]any{
		"name": "brief", "value": "expiring", "expose_as_env": "BRIEF", "expires_at": expires,
		"resource_type": sandbox.Type, "resource_id": sandbox.ID,
	})
	shm, err := os.MkdirTemp("/dev/shm", "miosa-env-test-")
	needs.Granted(t, err, "a directory in memory")
	t.Cleanup(func() { _ = os.RemoveAll(shm) })
	env := map[string]string{"MIOSA_BASE_URL": s.BaseURL, "MIOSA_API_KEY": s.key.Reveal(), "MIOSA_SANDBOX_ID": sandbox.ID}
	r := runAgent(t, attempt{env: env}, "cache = true\ncache_dir = \"$DIR/state\"\n[[output]]\npath = \""+shm+"/app.env\"\nformat = \"shell\"\n"+
		"hook = \"echo hook >>$DIR/hooks\"\n")
	file := filepath.Join(shm, "app.env")
	has := func(path, text string) func() bool {
		return func() bool { b, _ := os.ReadFile(path); return bytes.Contains(b, []byte(text)) }
	}
	if !poll.Within(time.Minute, has(file, "BRIEF")) {
		t.Fatalf("no env file; the log:\n%s", r.log())
	}
	program := func(extra ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(built, "miosa-env"), extra...)
		c.Dir, c.Env = r.dir, append(environ(env), "MIOSA_CACHE_DIR="+r.dir+"/own")
		return c
	}
	follower := program("run", "--no-agent", "--cache", "--on-change", "restart", "--settle", "0s", "--",
		"sh", "-c", "echo $STAYS $BRIEF >>followed; exec sleep 120")
	log, err := os.Create(filepath.Join(r.dir, "follower.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	follower.Stderr = log
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = follower.Process.Signal(os.Interrupt)
		_ = follower.Wait()
	}()
	r.holds("followed", "lasting expiring")
	s.Stop(t)
	if time.Now().After(expires) {
		needs.System(t, "a faster machine: the secret of 8 s has expired already")
	}
	time.Sleep(time.Until(expires))
	if !poll.Within(time.Minute, func() bool { return !has(file, "BRIEF")() && has(file, "STAYS")() }) {
		t.Errorf("the env file still contains it; the log:\n%s", r.log())
	}
	took := time.Since(expires)
	r.holds("followed", "lasting expiring\nlasting\n")
	if took > 10*time.Second || time.Since(expires) > 20*time.Second { // agent/expiry_test.go tests the exact time
		t.Errorf("dropped from the file after %s, from the command after %s", took, time.Since(expires))
	}
	for _, from := range [][]string{{"--socket", "agent.sock"}, {"--no-agent", "--cache"}} {
		args := append([]string{"run", "--timeout", "1s"}, append(from, "--", "sh", "-c", "echo $STAYS $BRIEF")...)
		if out, err := program(args...).Output(); err != nil || string(out) != "lasting\n" {
			t.Errorf("run %s prints %q: %v", strings.Join(from, " "), out, err)
		}
	}
	out, _ := program("status", "--socket", "agent.sock").Output() // exits with 1 because it is stale
	if !strings.Contains(string(out), "BRIEF: not served until the vault has newer values\n") || !strings.Contains(string(out), "stale") {
		t.Errorf("status:\n%s", out)
	}
	s.Restart(t)
	r.says("from=stale state=fresh")
	time.Sleep(2 * time.Second)
	for name, want := range map[string]int{"followed": 2, "hooks": 2} {
		if b, _ := os.ReadFile(filepath.Join(r.dir, name)); bytes.Count(b, []byte("\n")) != want {
			t.Errorf("%s:\n%s", name, b)
		}
	}
}
