package systemdtest

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var computer = api.Resource{Type: api.Computer, ID: "c_1"}

// The values, which must not appear in the journal.
const (
	canary1 = "canary-7f3a-first"
	canary2 = "canary-7f3a-second"
)

// app writes what it received to a file named after its unit, and stays.
const app = `#!/bin/sh
unit=$(sed -n 's|.*/\([^/]*\.service\).*|\1|p' /proc/self/cgroup | head -n 1)
[ -z "$GH_TOKEN_FILE" ] || GH_TOKEN=$(cat "$GH_TOKEN_FILE")
echo "$GH_TOKEN" >"/run/$unit.has"
exec sleep infinity
`

// asking returns a unit that loads a credential without being ordered after the agent.
func asking(name string) string {
	return "[Service]\nType=oneshot\nLoadCredential=" + name + ":/run/miosa-env/credentials.sock\nExecStart=/bin/true\n"
}

// apps are the services of docs/systemd.md, which receive values in three ways.
var apps = []string{"app.service", "app-run.service", "app-credential.service"}

// The computer of docs/systemd.md: the package is installed by that page's commands, configured, and booted with a
// slow vault. Values are rotated, the agent is killed and hangs, the package is upgraded, the key is revoked, and
// the package is removed and purged. Then the same files are installed from a checkout.
func TestComputer(t *testing.T) {
	needed(t)
	p := readPage(t)
	s := vaulttest.Start(t)
	secret := s.Put(t, "token", canary1, computer, "GH_TOKEN")
	key, keyID := s.MintResourceKey(t, computer)
	m := newMachine(t)
	m.give(packages(t))
	m.write("/usr/local/bin/app", app, 0o755)
	for path, text := range p.units {
		m.write(path, text, 0o644)
	}
	m.write("/etc/systemd/system/slow.service", asking("GH_TOKEN"), 0o644)
	m.write("/etc/systemd/system/denied.service", asking("GH_TOKEN"), 0o644)
	// The unit's own timeouts are too long for tests.
	m.write("/etc/systemd/system/miosa-env.service.d/test.conf", "[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n", 0o644)
	m.boot()
	m.shell(p.install)
	m.idle()
	config := m.config(s, p)
	m.write("/etc/miosa-env/agent.toml", config, 0o644)
	m.write("/etc/miosa-env/key", key.Reveal(), 0o600)

	// A vault that accepts connections and sends nothing.
	s.Stop(t)
	silent, err := net.Listen("tcp", s.Addr())
	must(t, err)
	m.shell(p.configured)
	m.reboot()
	m.waits()
	m.replaceUnready(first)
	must(t, silent.Close())
	s.Restart(t)
	m.ready()
	m.does("grep", "-q", canary1, "/run/miosa-env/app.env")

	m.does(append([]string{"systemctl", "enable", "--now"}, apps...)...)
	m.have(canary1, apps...)
	m.does("systemctl", "start", "slow.service")
	m.fails243("denied.service")
	m.does("systemd-analyze", "security", "--threshold=20", "miosa-env.service")
	if out := m.does("systemd-analyze", "verify", "miosa-env.service", "miosa-env.target"); out != "" {
		t.Errorf("systemd-analyze verify says\n%s", out)
	}

	s.Rotate(t, secret, canary2)
	m.have(canary2, apps[:2]...)
	m.does("systemctl", "restart", apps[2])
	m.have(canary2, apps[2])

	m.unnoticed("an agent that dies and hangs", m.dies)
	m.unnoticed("an upgrade", func() { m.upgrade(config) })
	m.unnoticed("a restart", func() { m.does("systemctl", "restart", "miosa-env") })
	m.replaceStopped()

	m.reboot()
	m.have(canary2, apps...)
	m.hookDone()

	next, nextID := s.MintResourceKey(t, computer)
	m.unnoticed("a key that is replaced, and then revoked", func() {
		m.write("/etc/miosa-env/key", next.Reveal(), 0o600)
		s.Revoke(t, keyID)
		m.does("miosa-env", "refresh")
	})

	s.Revoke(t, nextID)
	m.eventually("the file is gone", 10*time.Second, func() bool {
		_, err := m.run("test", "!", "-e", "/run/miosa-env/app.env")
		return err == nil
	})
	if state := m.show("app.service", "ActiveState"); state != "active" {
		t.Errorf("after the revocation the app is %s", state)
	}
	m.fails243("slow.service")

	another, pid := s.ResourceKey(t, computer), m.mainProcess("app.service")
	m.write("/etc/miosa-env/key", another.Reveal(), 0o600)
	m.back("the hook restarts the app, whose file is there again", "app.service", pid)
	m.does("grep", "-q", canary2, "/run/miosa-env/app.env")
	m.have(canary2, apps...)
	m.untouched("a removal", func() { m.remove(p, config) })
	pid = m.mainProcess("app.service")
	m.installAgain(p)
	m.back("the hook restarts the app after the second installation", "app.service", pid)
	m.purge(p)
	m.checkout(p, config, another.Reveal())
	m.does("grep", "-q", canary2, "/run/miosa-env/app.env")
	for _, k := range []api.Key{key, next, another} {
		if out, err := m.run("sh", "-c", "journalctl -o export | grep -c -e canary-7f3a -e "+k.Reveal()); err == nil {
			t.Errorf("values or a key are in %s lines of the journal", out)
		}
	}
}

// config returns the installed agent.toml, filled in, with what docs/systemd.md adds for its apps.
func (m *machine) config(s *vaulttest.Server, p page) string {
	m.Helper()
	return strings.NewReplacer(`#computer_id = "c_1"`, `computer_id = "c_1"`,
		`#base_url = "https://vault.example.com"`, `base_url = "`+s.BaseURL+`"`).Replace(m.does("cat", "/etc/miosa-env/agent.toml")) +
		"\n" + p.config + "\n[[unit]]\nname = \"slow.service\"\nonly = [\"GH_*\"]\n"
}

// waits boots without a vault: the boot completes, the agent logs what it waits for, and its clients get an error
// in time.
func (m *machine) waits() {
	m.Helper()
	m.eventually("the boot is over without a vault", 30*time.Second, func() bool { return m.show("multi-user.target", "ActiveState") == "active" })
	m.waiting()
	began := time.Now()
	m.fails243("slow.service")
	if took := time.Since(began); took > 6*time.Second {
		m.Errorf("a credential was denied after %v", took)
	}
}

// waiting checks an agent without values.
func (m *machine) waiting() {
	m.Helper()
	m.eventually("the agent says that it waits", 30*time.Second, func() bool {
		return strings.HasPrefix(m.show("miosa-env", "StatusText"), "waiting for the vault")
	})
	if state := m.show("miosa-env", "ActiveState"); state != "activating" {
		m.Errorf("without values the agent is %s", state)
	}
}

func (m *machine) ready() {
	m.Helper()
	m.eventually("the agent is ready", time.Minute, func() bool { return m.show("miosa-env", "ActiveState") == "active" })
}

// dies kills the agent, and then suspends it until the watchdog ends it.
func (m *machine) dies() {
	for signal, dead := range map[string]string{"KILL": "signal", "STOP": "watchdog"} {
		agent := m.show("miosa-env", "MainPID")
		m.does("systemctl", "kill", "--kill-whom=main", "--signal="+signal, "miosa-env") //nolint:misspell // an option of systemctl
		m.back("after "+signal+" the agent is back, as from "+dead, "miosa-env", agent)
		m.does("grep", "-q", canary2, "/run/miosa-env/app.env")
	}
}

// back waits until a unit is active with a main process other than pid.
func (m *machine) back(what, unit, pid string) {
	m.Helper()
	m.eventually(what, time.Minute, func() bool {
		now := m.mainProcess(unit)
		return now != "" && now != pid
	})
}

// hookDone waits for the hook that runs after a boot, and for the restart of an app that it requests from systemd.
func (m *machine) hookDone() {
	m.Helper()
	m.eventually("the hook after the boot is done", time.Minute, func() bool {
		_, err := m.run("sh", "-c", "journalctl -b -u miosa-env | grep -q 'hook done' && systemctl list-jobs | grep -q 'No jobs'")
		return err == nil
	})
}

// unnoticed checks that do neither restarts the apps nor changes their file, which would run a hook.
func (m *machine) unnoticed(what string, do func()) {
	m.Helper()
	file := []string{"stat", "-c", "%i %y", "/run/miosa-env/app.env"}
	before := m.does(file...)
	m.untouched(what, do)
	if after := m.does(file...); after != before {
		m.Errorf("after %s the file of an app is another one: %s, then %s", what, before, after)
	}
}

// untouched checks that do does not restart the apps.
func (m *machine) untouched(what string, do func()) {
	m.Helper()
	before := m.mainProcesses(apps)
	do()
	if after := m.mainProcesses(apps); !slices.Equal(after, before) || slices.Contains(after, "") {
		m.Errorf("%s touches apps: %q, then %q", what, before, after)
	}
}

// have waits until units have received a value.
func (m *machine) have(value string, units ...string) {
	m.Helper()
	for _, unit := range units {
		m.eventually(unit+" has its value", 30*time.Second, func() bool {
			out, _ := m.run("cat", "/run/"+unit+".has")
			return out == value
		})
	}
}

// fails243 starts a unit that fails because its credential is missing.
func (m *machine) fails243(unit string) {
	m.Helper()
	out, err := m.run("systemctl", "start", unit)
	if status := m.show(unit, "ExecMainStatus"); err == nil || status != "243" {
		m.Errorf("%s ends with the status %s: %s", unit, status, out)
	}
}

// mainProcess returns the main process of an active unit, or "" in any other state. It reads both with one call,
// because the unit can stop between two calls and its process is then 0.
func (m *machine) mainProcess(unit string) string {
	pid, active := "", false
	for line := range strings.Lines(m.properties(unit, "ActiveState", "MainPID")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "ActiveState":
			active = value == "active"
		case "MainPID":
			pid = value
		}
	}
	if !active || pid == "0" {
		return ""
	}
	return pid
}

// mainProcesses returns mainProcess of each unit.
func (m *machine) mainProcesses(units []string) (pids []string) {
	for _, unit := range units {
		pids = append(pids, m.mainProcess(unit))
	}
	return pids
}
