//go:build !race

package packagetest

import (
	"strings"
	"testing"
)

// units lists the files of miosa-env's package that concern its service, in a format.
func units(format string) []string {
	list := []string{"0644 root /etc/miosa-env/agent.toml"}
	if format == "apk" { // Alpine has no systemd
		return list
	}
	return append(list, "0644 root /usr/lib/systemd/system/miosa-env.service", "0644 root /usr/lib/systemd/system/miosa-env.target",
		"0644 root /usr/lib/sysusers.d/miosa-env.conf", "0644 root /usr/lib/tmpfiles.d/miosa-env.conf")
}

const ownLine = "# a line of ours"

// configured changes the configuration and adds a key, as an administrator. The group must exist.
func configured(t *testing.T, s *system) {
	t.Helper()
	s.must("getent group miosa-env >/dev/null")
	s.must("echo '" + ownLine + "' >> /etc/miosa-env/agent.toml; echo a-key > /etc/miosa-env/key; chmod 600 /etc/miosa-env/key")
	s.must("mkdir -p /var/lib/miosa-env /run/miosa-env; touch /var/lib/miosa-env/cache /run/miosa-env/app.env; systemctl enable miosa-env.service; test -n \"$(find /etc/systemd -name '*miosa*')\"")
}

// kept checks that the administrator's changes still exist, with the configuration in file.
func kept(t *testing.T, s *system, file string) {
	t.Helper()
	if out := s.must("cat /etc/miosa-env/key " + file); !strings.Contains(out, ownLine) || !strings.Contains(out, "a-key") {
		t.Errorf("the administrator's changes are gone:\n%s", out)
	}
}

// emptied checks that the files with values are gone and that the agent is not enabled.
func emptied(t *testing.T, s *system) {
	t.Helper()
	s.must("test ! -e /var/lib/miosa-env; test ! -e /run/miosa-env; test -z \"$(find /etc/systemd -name '*miosa*')\"")
}
