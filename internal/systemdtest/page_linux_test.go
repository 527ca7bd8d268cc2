package systemdtest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/release/releasetest"
)

// page is what docs/systemd.md and docs/install.md say to do.
type page struct {
	install, configured string            // blocks of commands
	remove, purge       string            // lines
	checkout            string            // a block
	config              string            // what is added to agent.toml
	units               map[string]string // by path
}

var (
	block    = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")
	unitPath = regexp.MustCompile("`(/etc/systemd/system/[a-z-]+\\.service)`")
)

func readPage(t *testing.T) page {
	t.Helper()
	one, other := filepath.Join(root, "docs/systemd.md"), filepath.Join(root, "docs/install.md")
	here, there := releasetest.Under(t, one, "Install", 2), releasetest.Under(t, other, "Debian and its like", 2)
	p := page{
		install: here[0], configured: here[1], checkout: releasetest.Under(t, one, "From a checkout", 1)[0],
		remove: releasetest.Line(t, there[0], "dpkg -r"), purge: releasetest.Line(t, there[0], "dpkg -P"), units: map[string]string{},
	}
	if line := releasetest.Line(t, there[0], "dpkg -i"); !strings.HasPrefix(line, strings.TrimSpace(p.install)) || there[1] != p.configured {
		t.Fatal("docs/install.md installs or starts it in another way than docs/systemd.md")
	}
	text := read(t, "docs/systemd.md")
	for _, at := range block.FindAllStringSubmatchIndex(text, -1) {
		body := text[at[4]:at[5]]
		switch text[at[2]:at[3]] {
		case "toml":
			p.config += "\n" + body
		case "ini":
			paths := unitPath.FindAllStringSubmatch(text[:at[0]], -1)
			p.units[paths[len(paths)-1][1]] = body
		}
	}
	if p.config == "" || len(p.units) != 3 {
		t.Fatalf("docs/systemd.md has %d units: this test runs 3", len(p.units))
	}
	return p
}
