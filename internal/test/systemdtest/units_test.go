package systemdtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/config"
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

// systemd-analyze rates the unit's exposure at 2.0 or less.
func TestUnitIsHardened(t *testing.T) {
	needs.Command(t, "systemd-analyze")
	unit := filepath.Join(root, "systemd/miosa-env.service")
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=20", unit).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The installed configuration is valid, as it is and with everything that it proposes.
func TestConfigurationIsOne(t *testing.T) {
	text := read(t, "systemd/agent.toml")
	for _, s := range []string{text, regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(text, "$1")} {
		if err := new(config.Config).Parse("agent.toml", []byte(s)); err != nil {
			t.Error(err)
		}
	}
}
