//go:build !race

package packagetest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// following is the folder of the version after: the same programs, under another number.
var following = sync.OnceValues(func() (string, error) {
	bin, out := filepath.Join(workplace, "following", "bin"), filepath.Join(workplace, "following", "dist")
	script := `mkdir -p "$1/linux/amd64"
tar -xzf "$2"/miosa-env_*_linux_amd64.tar.gz -C "$1/linux/amd64" --strip-components=2 --wildcards '*/bin/*'
cd "$5" && exec go run ./internal/release -bin "$1" -out "$3" -version v1.3.0 -epoch "$4" -nfpm "$6"`
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dist, err := made()
	if err != nil {
		return "", err
	}
	said, err := exec.CommandContext(ctx, "sh", "-ec", script, "sh", bin, dist, out, strconv.Itoa(epoch+1), root, filepath.Join(workplace, "nfpm")).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("release: %w\n%s", err, said)
	}
	return out, err
})

func later(t *testing.T) string {
	t.Helper()
	out, err := following()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A Debian has the package installed, upgraded, removed and purged, and is then as it was.
func TestDeb_Life(t *testing.T) {
	s := newSystem(t)
	next := later(t)
	for _, name := range []string{"miosa-env", "miosa-vault"} {
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
	dpkg("-i /one-miosa-env.deb /one-miosa-vault.deb")
	for _, command := range []string{"miosa-env --version", "miosa-vault --version"} {
		if out := s.must(command); !strings.Contains(out, first) {
			t.Errorf("%s says %s", command, out)
		}
	}
	if out, code := s.run("dpkg --verify miosa-env miosa-vault"); code != 0 || out != "" {
		t.Errorf("dpkg --verify: exit code %d\n%s", code, out)
	}
	configured(t, s)
	dpkg("-i --force-confold /two-miosa-env.deb /two-miosa-vault.deb")
	if out := s.must("dpkg-query -W -f '${Version} ${Status}\n' miosa-env miosa-vault"); out != strings.Repeat("1.3.0-1 install ok installed\n", 2) {
		t.Errorf("after the upgrade: %s", out)
	}
	kept(t, s, "/etc/miosa-env/agent.toml")
	dpkg("-r miosa-env miosa-vault")
	if out := s.ours(); strings.Contains(out, "/usr/") {
		t.Errorf("removal left\n%s", out)
	}
	emptied(t, s)
	kept(t, s, "/etc/miosa-env/agent.toml")
	dpkg("-P miosa-env") // miosa-vault has no configuration: nothing of it is left
	after := s.must("dpkg --get-selections; find /etc /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' | sort")
	gone := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return strings.HasSuffix(s, "-") }) // passwd- and its like
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

// The same of an rpm, by rpm's own rules: it has no purge.
func TestRpm_Life(t *testing.T) {
	s := newSystem(t)
	next := later(t)
	s.give(file(t, "miosa-env_1.2.3_amd64.rpm"), "one.rpm")
	s.give(filepath.Join(next, "miosa-env_1.3.0_amd64.rpm"), "two.rpm")
	rpm := func(command string) string { return s.must("rpm " + command) }
	rpm("-i --nodeps /one.rpm") // rpm knows of no package here, and so of no /bin/sh
	if out := s.must("miosa-env --version"); !strings.Contains(out, first) {
		t.Errorf("miosa-env --version says %s", out)
	}
	configured(t, s)
	rpm("-U --nodeps /two.rpm")
	if out := rpm("-q miosa-env"); out != "miosa-env-1.3.0-1.x86_64\n" {
		t.Errorf("after the upgrade: %s", out)
	}
	kept(t, s, "/etc/miosa-env/agent.toml")
	rpm("-e --nodeps miosa-env")
	if out := s.ours(); strings.Contains(out, "/usr/") {
		t.Errorf("removal left\n%s", out)
	}
	emptied(t, s)
	kept(t, s, "/etc/miosa-env/agent.toml.rpmsave")
}
