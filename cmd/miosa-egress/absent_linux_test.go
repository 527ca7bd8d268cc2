package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/netns"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A listener whose address no device has yet doesn't hold up others, and serves when a device has it.
func TestAbsentAddress(t *testing.T) {
	needs.Command(t, "ip")
	needs.Command(t, "curl")
	network := netns.New(t)
	network.Run(t, "ip", "link", "set", "lo", "up")
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	listener := func(address, sandbox string) string {
		return fmt.Sprintf("[[listener]]\naddress = %q\nsandbox_id = %q\n", address, sandbox)
	}
	for name, text := range map[string]string{
		"broker.key": api.NewKey(api.BrokerKeyPrefix).Reveal(),
		"egress.toml": fmt.Sprintf("base_url = 'http://127.0.0.1:9'\nkey_file = %q\nsocket = %q\n", in("broker.key"), in("egress.sock")) +
			listener("127.0.0.1:3128", "sb_1") + listener("10.200.9.1:3128", "sb_2") + listener("[fd00::9]:3128", "sb_3"),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(in("log"))
	if err != nil {
		t.Fatal(err)
	}
	broker := exec.CommandContext(t.Context(), filepath.Join(built, "miosa-egress"), "serve", "--config", in("egress.toml"))
	broker.Stdout, broker.Stderr = log, log
	network.Do(func() { err = broker.Start() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = broker.Process.Signal(syscall.SIGTERM)
		_ = broker.Wait()
		_ = log.Close()
	}()
	answers := func(address string) (ok bool) {
		network.Do(func() {
			out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--fail", "--max-time", "10", "http://"+address+"/ca.pem").Output()
			ok = err == nil && strings.HasPrefix(string(out), "-----BEGIN CERTIFICATE-----")
		})
		return ok
	}
	until := func(address string) {
		poll.Until(t, patience, "an answer at "+address, func() bool { return answers(address) })
	}
	until("127.0.0.1:3128")
	text, err := os.ReadFile(in("log"))
	if err != nil || strings.Count(string(text), "no device has the address of this listener yet") != 2 {
		t.Errorf("log: %v\n%s", err, text)
	}
	for _, address := range []string{"10.200.9.1:3128", "[fd00::9]:3128"} {
		if answers(address) {
			t.Errorf("%s answers before a device has it", address)
		}
	}
	network.Run(t, "ip", "address", "add", "10.200.9.1/32", "dev", "lo")
	network.Run(t, "ip", "address", "add", "fd00::9/128", "dev", "lo", "nodad")
	until("10.200.9.1:3128")
	until("[fd00::9]:3128")
}
