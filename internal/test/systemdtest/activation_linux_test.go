package systemdtest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// proxied is activated by its socket. The command is systemd's own proxy, which uses sd_listen_fds.
const proxied = `[Service]
EnvironmentFile=/etc/miosa-env/test.env
ExecStart=/usr/local/bin/miosa-env run --no-agent --on-change restart -- /lib/systemd/systemd-socket-proxyd %s
`

// watched is ended by systemd unless the command sends a watchdog notification each second. It does so only if
// sd_watchdog_enabled says that it is the one to do so.
const watched = `[Service]
EnvironmentFile=/etc/miosa-env/test.env
WatchdogSec=3
NotifyAccess=all
ExecStart=/usr/local/bin/miosa-env run --no-agent --on-change restart -- /usr/local/bin/well
`

const well = `#!/bin/sh
echo "$GH_TOKEN $$" >> /run/well.starts
while [ "$WATCHDOG_PID" = $$ ] && [ -n "$WATCHDOG_USEC" ]; do
	systemd-notify WATCHDOG=1
	echo >> /run/well.beats
	sleep 0.5
done
exec sleep infinity
`

// The command gets systemd's sockets and watchdog, also after a restart by a rotation.
func TestActivationAndWatchdog(t *testing.T) {
	needed(t)
	s := vaulttest.Start(t)
	secret := s.Put(t, "token", canary1, computer, "GH_TOKEN")
	backend := answering(t)
	m := newMachine(t)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(m.disk, "usr/local/bin/miosa-env"), "./cmd/miosa-env")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := freePort(t)
	m.write("/etc/miosa-env/test.env", fmt.Sprintf("MIOSA_BASE_URL=%s\nMIOSA_API_KEY=%s\nMIOSA_COMPUTER_ID=%s\n",
		s.BaseURL, s.ResourceKey(t, computer).Reveal(), computer.ID), 0o600)
	m.write("/etc/systemd/system/proxied.socket", "[Socket]\nListenStream=127.0.0.1:"+port+"\n", 0o644)
	m.write("/etc/systemd/system/proxied.service", fmt.Sprintf(proxied, backend), 0o644)
	m.write("/etc/systemd/system/watched.service", watched, 0o644)
	m.write("/usr/local/bin/well", well, 0o755)
	m.boot()
	m.does("systemctl", "start", "proxied.socket", "watched.service")

	served := func() bool { return ask("127.0.0.1:"+port) == "answer" }
	m.eventually("the socket is served", time.Minute, served)
	m.beats()
	before := m.commandOf("proxied.service")
	s.Rotate(t, secret, canary2)
	m.eventually("the command behind the socket is another one", time.Minute, func() bool {
		now := m.commandOf("proxied.service")
		return now != "" && now != before
	})
	m.eventually("the socket is served after the restart", time.Minute, served)
	m.eventually("the watched command was restarted", time.Minute, func() bool {
		out, _ := m.run("grep", "-c", canary2, "/run/well.starts")
		return out == "1"
	})
	m.beats()
	for _, unit := range []string{"proxied.service", "watched.service"} {
		if state, restarts := m.show(unit, "ActiveState"), m.show(unit, "NRestarts"); state != "active" || restarts != "0" {
			t.Errorf("%s is %s and was started again %s times", unit, state, restarts)
		}
	}
}

// beats waits until the watched command has run for longer than the watchdog's timeout.
func (m *machine) beats() {
	m.Helper()
	count := func() int {
		out, _ := m.run("wc", "-l", "/run/well.beats")
		text, _, _ := strings.Cut(out, " ")
		n, _ := strconv.Atoi(text) // not there yet: 0
		return n
	}
	from := count()
	m.eventually("the command has been well for long", time.Minute, func() bool { return count() >= from+12 })
}

// commandOf returns the process that a unit's main process has started.
func (m *machine) commandOf(unit string) string {
	out, _ := m.run("sh", "-c", "cat /proc/$(systemctl show -p MainPID --value "+unit+")/task/*/children")
	return out
}

// answering starts a server that sends "answer" and closes the connection.
func answering(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "answer")
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func ask(addr string) string {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	b, _ := io.ReadAll(c)
	return string(b)
}

// freePort returns an unused loopback port.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}
