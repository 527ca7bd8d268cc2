package systemdtest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

var computer = api.Resource{Type: api.Computer, ID: "c_1"}

// The values. None may be in the journal.
const (
	canary1 = "canary-7f3a-first"
	canary2 = "canary-7f3a-second"
)

// page is what docs/systemd.md says to do.
type page struct {
	commands []string          // its blocks of commands
	config   string            // what it adds to agent.toml
	units    map[string]string // by path
}

var (
	block    = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")
	unitPath = regexp.MustCompile("`(/etc/systemd/system/[a-z-]+\\.service)`")
)

func readPage(t *testing.T) page {
	t.Helper()
	text, p := read(t, "docs/systemd.md"), page{units: map[string]string{}}
	for _, at := range block.FindAllStringSubmatchIndex(text, -1) {
		body := text[at[4]:at[5]]
		switch text[at[2]:at[3]] {
		case "sh":
			p.commands = append(p.commands, body)
		case "toml":
			p.config += "\n" + body
		case "ini":
			paths := unitPath.FindAllStringSubmatch(text[:at[0]], -1)
			p.units[paths[len(paths)-1][1]] = body
		}
	}
	if len(p.commands) != 2 || p.config == "" || len(p.units) != 3 {
		t.Fatalf("docs/systemd.md has %d blocks of commands and %d units: this test runs 2 and 3", len(p.commands), len(p.units))
	}
	return p
}

// app notes what it was given in a file of its unit's name, and stays.
const app = `#!/bin/sh
unit=$(sed -n 's|.*/\([^/]*\.service\).*|\1|p' /proc/self/cgroup | head -n 1)
[ -z "$GH_TOKEN_FILE" ] || GH_TOKEN=$(cat "$GH_TOKEN_FILE")
echo "$GH_TOKEN" >"/run/$unit.has"
exec sleep infinity
`

// asking is a unit that loads a credential, and isn't ordered after the agent.
func asking(name string) string {
	return "[Service]\nType=oneshot\nLoadCredential=" + name + ":/run/miosa-env/credentials.sock\nExecStart=/bin/true\n"
}

// The computer of docs/systemd.md, from its installation by that page's own lines through a vault that is slow, a
// rotation, an agent that dies or hangs, and a reboot, to the end of its key.
func TestComputer(t *testing.T) {
	needed(t)
	p := readPage(t)
	binary := filepath.Join(t.TempDir(), "miosa-env")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/miosa-env")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := vaulttest.Start(t)
	secret := s.Put(t, "token", canary1, computer, "GH_TOKEN")
	key, keyID := s.MintResourceKey(t, computer)

	m := newMachine(t)
	program, err := os.ReadFile(binary)
	must(t, err)
	m.write("/root/miosa-env", string(program), 0o755)
	for _, name := range []string{"miosa-env.service", "miosa-env.target", "miosa-env.tmpfiles.conf", "miosa-env.sysusers.conf", "agent.toml"} {
		m.write("/root/systemd/"+name, read(t, "systemd/"+name), 0o644)
	}
	m.write("/usr/local/bin/app", app, 0o755)
	for path, text := range p.units {
		m.write(path, text, 0o644)
	}
	m.write("/etc/systemd/system/slow.service", asking("GH_TOKEN"), 0o644)
	m.write("/etc/systemd/system/denied.service", asking("GH_TOKEN"), 0o644)
	// The unit's own times are meant for computers, not for tests.
	m.write("/etc/systemd/system/miosa-env.service.d/test.conf", "[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n", 0o644)
	m.boot()
	m.does("sh", "-ec", "cd /root\n"+p.commands[0])
	config := strings.NewReplacer(`#computer_id = "c_1"`, `computer_id = "c_1"`,
		`#base_url = "https://vault.example.com"`, `base_url = "`+s.BaseURL+`"`).Replace(read(t, "systemd/agent.toml"))
	m.write("/etc/miosa-env/agent.toml", config+p.config+"\n[[unit]]\nname = \"slow.service\"\nonly = [\"GH_*\"]\n", 0o644)
	m.write("/etc/miosa-env/key", key.Reveal(), 0o600)

	// A vault that takes connections and says nothing.
	s.Stop(t)
	silent, err := net.Listen("tcp", s.Addr())
	must(t, err)
	m.does("sh", "-ec", p.commands[1])
	m.reboot()
	m.eventually("the boot is over without a vault", 30*time.Second, func() bool { return m.show("multi-user.target", "ActiveState") == "active" })
	m.eventually("the agent says that it waits", 30*time.Second, func() bool {
		return strings.HasPrefix(m.show("miosa-env", "StatusText"), "waiting for the vault")
	})
	if state := m.show("miosa-env", "ActiveState"); state != "activating" {
		t.Errorf("without values the agent is %s", state)
	}
	began := time.Now()
	m.fails243("slow.service")
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("a credential was denied after %v", took)
	}
	must(t, silent.Close())
	s.Restart(t)
	m.eventually("the agent is ready", time.Minute, func() bool { return m.show("miosa-env", "ActiveState") == "active" })
	m.does("grep", "-q", canary1, "/run/miosa-env/app.env")

	apps := []string{"app.service", "app-run.service", "app-credential.service"}
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

	before := m.pids(apps)
	for signal, dead := range map[string]string{"KILL": "signal", "STOP": "watchdog"} {
		agent := m.show("miosa-env", "MainPID")
		m.does("systemctl", "kill", "--kill-whom=main", "--signal="+signal, "miosa-env")
		m.eventually("after "+signal+" the agent is back, as from "+dead, time.Minute, func() bool {
			return m.show("miosa-env", "ActiveState") == "active" && m.show("miosa-env", "MainPID") != agent
		})
		m.does("grep", "-q", canary2, "/run/miosa-env/app.env")
	}
	if after := m.pids(apps); after != before {
		t.Errorf("apps were touched: %s, then %s", before, after)
	}

	m.reboot()
	m.have(canary2, apps...)

	s.Revoke(t, keyID)
	m.eventually("the file is gone", 10*time.Second, func() bool {
		_, err := m.run("test", "!", "-e", "/run/miosa-env/app.env")
		return err == nil
	})
	if state := m.show("app.service", "ActiveState"); state != "active" {
		t.Errorf("after the revocation the app is %s", state)
	}
	m.fails243("slow.service")
	if out, err := m.run("sh", "-c", "journalctl -o export | grep -c -e canary-7f3a -e "+key.Reveal()); err == nil {
		t.Errorf("values or the key are in %s lines of the journal", out)
	}
}

// have waits for units to have been given a value.
func (m *machine) have(value string, units ...string) {
	m.Helper()
	for _, unit := range units {
		m.eventually(unit+" has its value", 30*time.Second, func() bool {
			out, _ := m.run("cat", "/run/"+unit+".has")
			return out == value
		})
	}
}

// fails243 starts a unit that fails for want of its credential.
func (m *machine) fails243(unit string) {
	m.Helper()
	out, err := m.run("systemctl", "start", unit)
	if status := m.show(unit, "ExecMainStatus"); err == nil || status != "243" {
		m.Errorf("%s ends with the status %s: %s", unit, status, out)
	}
}

// pids gives the main processes of units.
func (m *machine) pids(units []string) string {
	var list []string
	for _, unit := range units {
		list = append(list, m.show(unit, "MainPID"))
	}
	return strings.Join(list, " ")
}
