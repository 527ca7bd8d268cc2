//go:build !race

package packagetest

import (
	"fmt"
	"strings"
	"testing"
)

// configurations are the files below /etc of the packages that have a service.
var configurations = map[string]string{"miosa-env": "/etc/miosa-env/agent.toml", "miosa-egress": "/etc/miosa-egress/egress.toml"}

// units lists the files of a package that concern its service, in a format.
func units(name, format string) []string {
	if configurations[name] == "" {
		return nil
	}
	list := []string{"0644 root " + configurations[name]}
	if format == "apk" { // Alpine has no systemd
		return list
	}
	if name == "miosa-env" {
		list = append(list, "0644 root /usr/lib/systemd/system/miosa-env.target")
	}
	return append(list, "0644 root /usr/lib/systemd/system/"+name+".service", "0644 root /usr/lib/sysusers.d/"+name+".conf", "0644 root /usr/lib/tmpfiles.d/"+name+".conf")
}

const ownLine = "# a line of ours"

// configured changes the configuration of a package and adds a key, as an administrator. The group must exist.
func configured(t *testing.T, s *system, name string) {
	t.Helper()
	s.must("getent group " + name + " >/dev/null")
	s.must(fmt.Sprintf("echo '%s' >> %s; echo a-key > /etc/%[3]s/key; chmod 600 /etc/%[3]s/key", ownLine, configurations[name], name))
	s.must(fmt.Sprintf("mkdir -p /var/lib/%[1]s /run/%[1]s; touch /var/lib/%[1]s/cache /run/%[1]s/app.env; systemctl enable %[1]s.service; test -n \"$(find /etc/systemd -name '%[1]s*')\"", name))
}

// kept checks that the administrator's changes of a package still exist, with what is appended to the configuration's name.
func kept(t *testing.T, s *system, name, suffix string) {
	t.Helper()
	if out := s.must("cat /etc/" + name + "/key " + configurations[name] + suffix); !strings.Contains(out, ownLine) || !strings.Contains(out, "a-key") {
		t.Errorf("the administrator's changes are gone:\n%s", out)
	}
}

// emptied checks that the files with values of a package are gone and that no service is enabled.
func emptied(t *testing.T, s *system, name string) {
	t.Helper()
	s.must("test ! -e /var/lib/" + name + "; test ! -e /run/" + name + "; test -z \"$(find /etc/systemd -name '*miosa*')\"")
}
