package systemdtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/config"
	egressconfig "github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/internal/needs"
)

const root = "../../.."

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// systemd-analyze rates the units' exposure at 2.0 or less: that of the agent, which is root, and 1.5 of the broker.
func TestUnitsAreHardened(t *testing.T) {
	needs.Command(t, "systemd-analyze")
	for unit, most := range map[string]string{"miosa-env": "20", "miosa-egress": "15"} {
		path := filepath.Join(root, "systemd", unit+".service")
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold="+most, path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// The installed configurations are valid, as they are and with everything that they propose.
func TestConfigurations(t *testing.T) {
	for name, parse := range map[string]func(string, []byte) error{
		"agent.toml": new(config.Config).Parse, "egress.toml": new(egressconfig.Config).Parse,
	} {
		text := read(t, "systemd/"+name)
		for _, s := range []string{text, regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(text, "$1")} {
			if err := parse(name, []byte(s)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
