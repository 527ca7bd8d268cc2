package systemdtest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

// page contains the instructions of docs/systemd.md and docs/install.md.
type page struct {
	install, configured string            // blocks of commands
	remove, purge       string            // lines
	checkout            string            // a block
	config              string            // additions to agent.toml
	units               map[string]string // by path
}

var unitPath = regexp.MustCompile("`(/etc/systemd/system/[a-z-]+\\.service)`")

func readPage(t *testing.T) page {
	t.Helper()
	one, other := document.Read(t, filepath.Join(root, "docs/systemd.md")), document.Read(t, filepath.Join(root, "docs/install.md"))
	here, there := one.Commands(t, "Install", 2), other.Commands(t, "Debian and derivatives", 2)
	p := page{
		install: here[0], configured: here[1], checkout: one.Commands(t, "From a checkout", 1)[0],
		remove: document.Line(t, there[0], "dpkg -r"), purge: document.Line(t, there[0], "dpkg -P"), units: map[string]string{},
	}
	if line := document.Line(t, there[0], "dpkg -i"); !strings.HasPrefix(line, strings.TrimSpace(p.install)) || there[1] != p.configured {
		t.Fatal("docs/install.md installs or starts it in another way than docs/systemd.md")
	}
	lines := strings.SplitAfter(one.Text, "\n")
	for _, b := range one.Blocks() {
		switch b.Language {
		case "toml":
			p.config += "\n" + b.Body
		case "ini": // the last path above is its own
			paths := unitPath.FindAllStringSubmatch(strings.Join(lines[:b.Line], ""), -1)
			p.units[paths[len(paths)-1][1]] = b.Body
		}
	}
	if p.config == "" || len(p.units) != 3 {
		t.Fatalf("docs/systemd.md has %d units: this test runs 3", len(p.units))
	}
	return p
}
