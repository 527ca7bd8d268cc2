package systemdtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

// The version that docs/systemd.md installs, and the next one.
const (
	first = "miosa-env_1.2.3_amd64.deb"
	next  = "miosa-env_1.3.0_amd64.deb"
)

// packages creates both packages and returns their paths.
func packages(t *testing.T) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for version, name := range map[string]string{releasetest.First: first, releasetest.Next: next} {
		out := filepath.Join(dir, version)
		must(t, releasetest.Make(root, out, filepath.Join(dir, "nfpm"), version, "linux/amd64"))
		paths = append(paths, filepath.Join(out, name))
	}
	return paths
}

// give copies files into root's home.
func (m *machine) give(paths []string) {
	m.Helper()
	for _, path := range paths {
		content, err := os.ReadFile(path)
		must(m.T, err)
		m.write(filepath.Join("/root", filepath.Base(path)), string(content), 0o644)
	}
}

// is checks the state of the agent's service.
func (m *machine) is(active, enabled string) {
	m.Helper()
	now, file := m.show("miosa-env.service", "ActiveState"), m.show("miosa-env.service", "UnitFileState")
	if now != active || file != enabled {
		m.Errorf("the service is %s and %q, and should be %s and %q", now, file, active, enabled)
	}
}

// has checks that a version is installed.
func (m *machine) has(version string) {
	m.Helper()
	if out := m.does("miosa-env", "--version"); !strings.Contains(out, version) {
		m.Errorf("miosa-env --version says %s, and not %s", out, version)
	}
}

// dpkg replaces a package with another version, without a terminal and without waiting for the service.
func (m *machine) dpkg(name string) {
	m.Helper()
	began := time.Now()
	m.does("dpkg", "-i", "/root/"+name)
	if took := time.Since(began); took > 40*time.Second {
		m.Errorf("dpkg -i %s takes %v", name, took)
	}
}

// idle checks a newly installed package: its service is neither running nor enabled.
func (m *machine) idle() {
	m.Helper()
	m.has(releasetest.First)
	m.is("inactive", "disabled")
	if out := m.does("systemctl", "list-units", "--all", "--no-legend", "--plain", "*miosa*"); out != "" {
		m.Errorf("units:\n%s", out)
	}
	if out := m.does("find", "/etc/systemd/system", "-name", "*miosa*", "-not", "-name", "*.d"); out != "" {
		m.Errorf("enabled:\n%s", out)
	}
}

// replaceUnready reinstalls a version while the agent waits for the vault; dpkg does not wait for it.
func (m *machine) replaceUnready(name string) {
	m.Helper()
	agent := m.show("miosa-env", "MainPID")
	m.dpkg(name)
	m.eventually("another agent runs", 30*time.Second, func() bool {
		now := m.show("miosa-env", "MainPID")
		return now != agent && now != "0" && now != ""
	})
	m.waiting()
}

// upgrade upgrades to the next version while the service runs. Credentials are given again, and the
// administrator's files stay.
func (m *machine) upgrade(config string) {
	m.Helper()
	agent := m.show("miosa-env", "MainPID")
	m.failsToUpgrade()
	if now := m.show("miosa-env", "MainPID"); now != agent {
		m.Errorf("an upgrade that failed replaced the agent %s by %s", agent, now)
	}
	m.dpkg(next)
	m.back("after the upgrade the agent is back", "miosa-env", agent)
	m.has(releasetest.Next)
	if pid := m.show("miosa-env", "MainPID"); !strings.Contains(m.does("/proc/"+pid+"/exe", "--version"), releasetest.Next) {
		m.Error("the service runs the old version")
	}
	m.does("systemctl", "start", "slow.service")
	m.configured(config)
	m.is("active", "enabled")
}

// failsToUpgrade tries a version whose installation fails after the old one has prepared for its removal.
func (m *machine) failsToUpgrade() {
	m.Helper()
	m.shell("dpkg-deb -R " + next + " broken; printf '#!/bin/sh\nexit 1\n' >broken/DEBIAN/preinst; chmod 0755 broken/DEBIAN/preinst; dpkg-deb -Znone -b broken broken.deb")
	if out, err := m.run("dpkg", "-i", "/root/broken.deb"); err == nil || !strings.Contains(out, "exit status 1") {
		m.Errorf("the upgrade doesn't fail: %s", out)
	}
	if out := m.does("dpkg-query", "-W", "-f", "${Version} ${Status}", "miosa-env"); out != "1.2.3-1 install ok installed" {
		m.Errorf("after an upgrade that failed: %s", out)
	}
	m.is("active", "enabled")
}

// configured checks the administrator's files.
func (m *machine) configured(config string) {
	m.Helper()
	if diff := cmp.Diff(m.does("cat", "/etc/miosa-env/agent.toml"), strings.TrimSpace(config)); diff != "" {
		m.Errorf("agent.toml (-got +want):\n%s", diff)
	}
	m.does("test", "-s", "/etc/miosa-env/key")
}

// replaceStopped upgrades and downgrades a stopped service, which stays stopped.
func (m *machine) replaceStopped() {
	m.Helper()
	m.does("systemctl", "stop", "miosa-env")
	m.dpkg(first)
	m.has(releasetest.First)
	m.is("inactive", "enabled")
	m.does("systemctl", "disable", "miosa-env.service")
	m.dpkg(next)
	m.has(releasetest.Next)
	m.is("inactive", "disabled")
	m.does("systemctl", "enable", "--now", "miosa-env.service")
	m.is("active", "enabled")
}

// remove removes the program and the files it created, and keeps the administrator's files.
func (m *machine) remove(p page, config string) {
	m.Helper()
	m.shell(p.remove)
	for _, gone := range []string{"/run/miosa-env", "/var/lib/miosa-env", "/usr/bin/miosa-env"} {
		m.does("test", "!", "-e", gone)
	}
	m.forgotten()
	m.configured(config)
}

// installAgain reinstalls a removed package: the service has all it needs and must be enabled again.
func (m *machine) installAgain(p page) {
	m.Helper()
	m.shell(p.install)
	m.is("inactive", "disabled")
	m.shell(p.configured)
	m.ready()
}

// purge leaves nothing behind except the administrator's own units, which it removes first.
func (m *machine) purge(p page) {
	m.Helper()
	m.shell("systemctl disable --now " + strings.Join(apps, " ") + "; rm -r /etc/systemd/system/*app*.service /etc/systemd/system/miosa-env.service.d; systemctl daemon-reload")
	m.shell(p.purge)
	m.forgotten()
	out := m.does("find", "/etc", "/usr", "/var/lib", "/run", "-name", "*miosa*", "-not", "-path", "/run/systemd/units/*")
	if group, err := m.run("getent", "group", "miosa-env"); out != "" || err == nil {
		m.Errorf("a purge leaves %s %s", out, group)
	}
	if out := m.does("systemctl", "list-units", "--all", "--no-legend", "--plain", "*miosa*"); out != "" {
		m.Errorf("systemd still knows\n%s", out)
	}
	m.does("systemctl", "reset-failed", "slow.service") // expected to fail
	if out, _ := m.run("systemctl", "is-system-running"); out != "running" {
		failed, _ := m.run("systemctl", "list-units", "--failed", "--no-legend")
		m.Errorf("the machine is %s: %s", out, failed)
	}
}

// forgotten checks that systemd neither runs, starts nor counts the service as failed. It may be known to units
// that want it.
func (m *machine) forgotten() {
	m.Helper()
	m.is("inactive", "")
	for _, unit := range []string{"miosa-env.service", "miosa-env.target"} {
		if state := m.show(unit, "LoadState") + " " + m.show(unit, "ActiveState"); state != "not-found inactive" {
			m.Errorf("%s is %s", unit, state)
		}
	}
	if out := m.does("find", "/etc/systemd/system", "-name", "*miosa*", "-not", "-name", "*.d", "-o", "-xtype", "l", "-lname", "*miosa*"); out != "" {
		m.Errorf("a removal leaves\n%s", out)
	}
}

// checkout installs from the sources.
func (m *machine) checkout(p page, config, key string) {
	m.Helper()
	m.shell("dpkg-deb --fsys-tarfile " + first + " | tar -xO ./usr/bin/miosa-env >miosa-env")
	for _, name := range []string{"miosa-env.service", "miosa-env.target", "miosa-env.tmpfiles.conf", "miosa-env.sysusers.conf", "agent.toml"} {
		m.write("/root/systemd/"+name, read(m.T, "systemd/"+name), 0o644)
	}
	m.shell(p.checkout)
	m.write("/etc/miosa-env/agent.toml", config, 0o644)
	m.write("/etc/miosa-env/key", key, 0o600)
	m.shell(p.configured)
	m.ready()
}
