package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// The service manager is notified when the values are in the file, when a reload has ended, even if the new
// configuration is refused, and when the agent stops. Hooks do not inherit the manager's variables.
func TestAgent_NotifiesManager(t *testing.T) {
	s := vaulttest.Start(t)
	s.Put(t, "token", "the-value", sandbox, "TOKEN")
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	var d *agentRun
	hears := func(words string) {
		t.Helper()
		b := make([]byte, 4096)
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("the manager does not receive %s: %v\n%s", words, err, d.log())
			}
			if strings.Contains(string(b[:n]), words) {
				return
			}
		}
	}
	a := configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("NOTIFY_SOCKET", name).with("WATCHDOG_USEC", "300000")
	output := "[[output]]\npath = \"$DIR/env\"\nformat = \"shell\"\nallow_disk = true\nhook = \"env | sort\"\n"
	d = runAgent(t, a, output)
	hears("READY=1\nSTATUS=1 value, fresh")
	if b, err := os.ReadFile(filepath.Join(d.dir, "env")); err != nil || !strings.Contains(string(b), "the-value") {
		t.Errorf("ready before the file is written: %v", err)
	}
	hears("WATCHDOG=1")
	d.says("hook done")
	if log := d.log(); !strings.Contains(log, "PATH=") || strings.Contains(log, "NOTIFY_SOCKET") || strings.Contains(log, "WATCHDOG_") {
		t.Errorf("the hook's environment:\n%s", log)
	}
	for _, config := range []string{output + "keep = true\n", "mistake = 1\n"} {
		d.write("agent.toml", "socket = \"$DIR/agent.sock\"\n"+config)
		hears("RELOADING=1\nMONOTONIC_USEC=")
		hears("READY=1")
	}
	if err := d.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1\nMONOTONIC_USEC=")
	hears("READY=1")
	d.ends()
	hears("STOPPING=1")
}
