//go:build !race

package packagetest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

// The packages are installed, upgraded, removed and purged on Debian, which is unchanged afterwards.
func TestDeb_Life(t *testing.T) {
	s := newSystem(t)
	next := nextDist(t)
	for _, name := range releasetest.Programs {
		s.give(file(t, name+"_1.2.3_amd64.deb"), "one-"+name+".deb")
		s.give(filepath.Join(next, name+"_1.3.0_amd64.deb"), "two-"+name+".deb")
	}
	before := s.must("dpkg --get-selections; find /etc /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' | sort")
	passwd := s.must("cat /etc/passwd /etc/group")
	dpkg := func(command string) {
		t.Helper()
		if out := s.must("dpkg " + command); strings.Contains(out, "warning") {
			t.Errorf("dpkg %s: %s", command, out)
		}
	}
	dpkg("-i /one-*.deb")
	for _, name := range releasetest.Programs {
		if out := s.must(name + " --version"); !strings.Contains(out, first) {
			t.Errorf("%s --version says %s", name, out)
		}
	}
	if out, code := s.run("dpkg --verify " + strings.Join(releasetest.Programs, " ")); code != 0 || out != "" {
		t.Errorf("dpkg --verify: exit code %d\n%s", code, out)
	}
	for name := range configurations {
		configured(t, s, name)
	}
	dpkg("-i /two-*.deb </dev/null")
	if out := s.must("dpkg-query -W -f '${Version} ${Status}\n' miosa-env miosa-vault miosa-egress"); out != strings.Repeat("1.3.0-1 install ok installed\n", 3) {
		t.Errorf("after the upgrade: %s", out)
	}
	for name := range configurations {
		kept(t, s, name, "")
	}
	bothChanged(t, s)
	dpkg("-r " + strings.Join(releasetest.Programs, " "))
	if out := s.ours(); strings.Contains(out, "/usr/") {
		t.Errorf("removal left\n%s", out)
	}
	for name := range configurations {
		emptied(t, s, name)
		kept(t, s, name, "")
	}
	dpkg("-P miosa-env miosa-egress") // miosa-vault has no configuration, so nothing of it is left
	after := s.must("dpkg --get-selections; find /etc /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' | sort")
	gone := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return strings.HasSuffix(s, "-") }) // backups such as passwd-
	}
	if diff := cmp.Diff(gone(after), gone(before)); diff != "" {
		t.Errorf("purge left (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(s.must("cat /etc/passwd /etc/group"), passwd); diff != "" {
		t.Errorf("purge left users (-got +want):\n%s", diff)
	}
	if out := s.ours(); out != "" {
		t.Errorf("purge left\n%s", out)
	}
}

// bothChanged upgrades to a version with another configuration after the administrator changed the old one:
// without a terminal dpkg stops, and continues as instructed.
func bothChanged(t *testing.T, s *system) {
	t.Helper()
	s.must("cd /tmp; dpkg-deb -R /two-miosa-env.deb three; echo '# of the next version' >>three/etc/miosa-env/agent.toml; dpkg-deb -Znone -b three three.deb")
	if out, code := s.run("dpkg -i /tmp/three.deb </dev/null"); code == 0 || !strings.Contains(out, "conffile prompt") {
		t.Errorf("dpkg doesn't ask: exit code %d\n%s", code, out)
	}
	s.must("dpkg -i --force-confold /tmp/three.deb </dev/null; grep -q '# of the next version' /etc/miosa-env/agent.toml.dpkg-dist; rm -r /tmp/three /tmp/three.deb")
	kept(t, s, "miosa-env", "")
}

// The same for rpm, according to rpm's rules and docs/install.md: rpm has no purge.
func TestRpm_Life(t *testing.T) {
	s := newSystem(t)
	next := nextDist(t)
	lines := strings.Split(strings.TrimSpace(document.Read(t, guide).Commands(t, "Rpm", 1)[0]), "\n")
	if len(lines) != 3 {
		t.Fatalf("docs/install.md has %d lines for rpm, and this test runs 3", len(lines))
	}
	s.give(file(t, "miosa-env_1.2.3_amd64.rpm"), "root/miosa-env_1.2.3_amd64.rpm")
	s.give(filepath.Join(next, "miosa-env_1.3.0_amd64.rpm"), "root/miosa-env_1.3.0_amd64.rpm")
	// rpm's database lists no packages here, so /bin/sh would be a missing dependency.
	rpm := func(line string) string { return s.must("rpm() { command rpm --nodeps \"$@\"; }; cd /root; " + line) }
	rpm(lines[0])
	if out := s.must("miosa-env --version"); !strings.Contains(out, first) {
		t.Errorf("miosa-env --version says %s", out)
	}
	configured(t, s, "miosa-env")
	rpm(lines[1])
	if out := s.must("rpm -q miosa-env; miosa-env --version"); !strings.HasPrefix(out, "miosa-env-1.3.0-1.x86_64\n") || !strings.Contains(out, releasetest.Next) {
		t.Errorf("after the upgrade: %s", out)
	}
	kept(t, s, "miosa-env", "")
	s.must("rpm -U --nodeps --oldpackage /root/miosa-env_1.2.3_amd64.rpm; rpm -U --nodeps --replacepkgs /root/miosa-env_1.2.3_amd64.rpm")
	kept(t, s, "miosa-env", "")
	s.must("systemctl is-enabled miosa-env.service")
	rpm(lines[2])
	s.must("rm /root/*.rpm")
	if out := s.ours(); strings.Contains(out, "/usr/") {
		t.Errorf("removal left\n%s", out)
	}
	emptied(t, s, "miosa-env")
	kept(t, s, "miosa-env", ".rpmsave")
}
