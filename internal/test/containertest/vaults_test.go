package containertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

// Images that packaging/compose names. No registry is reachable, so tests build those of others from this machine's programs.
const (
	postgresImage = "docker.io/library/postgres:17"
	haproxyImage  = "docker.io/library/haproxy:3.0"
)

// startPostgres stands for the entry point of PostgreSQL's image: it creates the database once, and becomes the server.
const startPostgres = `#!/bin/sh
set -eu
data=/var/lib/postgresql/data
if ! [ -e $data/PG_VERSION ]; then
	initdb -D $data -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256 --locale=C -E UTF8 --no-sync
	echo "host all all all scram-sha-256" >> $data/pg_hba.conf
	echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D $data postgres
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=$data -c fsync=off
`

// programs copies programs, by their paths on this machine, and their libraries into a folder.
func programs(t *testing.T, dir string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := copyFile(path, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.CommandContext(t.Context(), "ldd", path).Output() // fails for a static program
		for _, word := range strings.Fields(string(out)) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			if err := copyFile(word, filepath.Join(dir, word)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// buildOthers builds stand-ins for the images of PostgreSQL and HAProxy.
func (e *engine) buildOthers(t *testing.T) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		needs.System(t, "a PostgreSQL server, which Debian's package postgresql has")
	}
	bin := filepath.Dir(found[len(found)-1])
	version := filepath.Base(filepath.Dir(bin))
	server, proxy := t.TempDir(), t.TempDir()
	var paths []string
	for _, name := range []string{"postgres", "initdb", "psql", "pg_dump", "pg_restore", "dropdb", "createdb"} {
		paths = append(paths, filepath.Join(bin, name))
	}
	libraries, err := filepath.Glob(filepath.Join(filepath.Dir(bin), "lib", "[dp]*.so")) // of initdb: dict_snowball, plpgsql
	if err != nil {
		t.Fatal(err)
	}
	programs(t, server, append(paths, libraries...)...)
	share := filepath.Join("/usr/share/postgresql", version)
	if err := os.CopyFS(filepath.Join(server, share), os.DirFS(share)); err != nil {
		t.Fatal(err)
	}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	programs(t, proxy, haproxy)
	for path, text := range map[string]string{
		server + "/entry":      startPostgres,
		server + "/etc/passwd": "postgres:x:999:999::/:/bin/sh\n",
		server + "/Dockerfile": fmt.Sprintf("FROM %s\nCOPY --chown=999:999 data /var/lib/postgresql/data\nCOPY . /\nENV PATH=%s:/bin PGHOST=/var/lib/postgresql/data\n"+
			"USER 999:999\nENTRYPOINT [\"/entry\"]\n", busybox, bin),
		server + "/data/.keep": "",
		proxy + "/etc/passwd":  "haproxy:x:99:99::/:/\n",
		proxy + "/Dockerfile":  "FROM scratch\nCOPY . /\nUSER 99:99\nENTRYPOINT [\"" + haproxy + "\", \"-f\", \"/usr/local/etc/haproxy/haproxy.cfg\"]\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(server, "data/.keep")); err != nil { // initdb wants an empty folder
		t.Fatal(err)
	}
	e.must(t, "build", "-t", postgresImage, server)
	e.must(t, "build", "-t", haproxyImage, proxy)
}

// The guide's session runs the compose example as it is shipped: three vaults on PostgreSQL behind HAProxy, in networks of podman's
// own, in a network namespace of the test.
func TestScaleGuide(t *testing.T) {
	e := ready(t)
	needs.Command(t, "podman-compose", "haproxy", "pg_ctlcluster", "ip", "mount", "openssl", "curl", "/usr/lib/podman/netavark", "iptables", "/usr/lib/podman/aardvark-dns")
	needs.Long(t, "it starts five containers")
	page := document.Read(t, root+"/docs/scale.md")
	if err := os.MkdirAll(filepath.Join(e.dir, "stage/out/data"), 0o755); err != nil {
		t.Fatal(err)
	}
	e.buildOthers(t)
	conf := filepath.Join(t.TempDir(), "containers.conf")
	text, err := os.ReadFile(filepath.Join(e.dir, "containers.conf"))
	if err != nil {
		t.Fatal(err)
	}
	networks := strings.Replace(string(text), "netns = \"host\"\n", "", 1) +
		fmt.Sprintf("[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = %q\n", filepath.Join(e.dir, "networks"))
	if err := os.WriteFile(conf, []byte(networks), 0o600); err != nil {
		t.Fatal(err)
	}
	script := page.Script(t, "TestScaleGuide", "sh")
	rest, starts := strings.CutPrefix(script, "make build\nexport PATH=\"$PWD/bin:$PATH\"\n")
	if !starts {
		t.Fatal("the session doesn't start with make build")
	}
	// podman's name server answers late when containers have just been started.
	for _, command := range []string{
		"vault keys create --tenant acme --resource sandbox:sb_2 2> sb_2.id | grep -o 'msk_[A-Za-z0-9_-]*' > sb_2.key",
		`vault keys revoke "$(sed -n 's/^id: //p' sb_2.id)"`,
		"vault audit verify",
	} {
		again := "try " + command
		if strings.Contains(command, " | grep ") { // which fails without a key
			again = "until " + command + "; do sleep 1; done"
		}
		if strings.Count(rest, "\n"+command+"\n") != 1 {
			t.Fatalf("the session hasn't the line %s", command)
		}
		rest = strings.Replace(rest, "\n"+command+"\n", "\n"+again+"\n", 1)
	}
	// The folder is the same for all of podman's engines, and has the addresses of their names.
	const before = `try() { # podman-compose exec returns 0 in any case
	until out=$("$@" 2>&1); echo "$out"; ! echo "$out" | grep -q 'error: open store'; do sleep 1; done
}
ip link set lo up
mount --make-rprivate /
mkdir -p /run/containers/networks
mount -t tmpfs none /run/containers/networks
cleanup() {
	test $? = 0 || for c in $(podman ps --all --quiet); do echo "log of $c"; podman logs --tail 20 "$c"; done
	podman rm --all --force --time 0 --volumes > /dev/null 2>&1
}
trap cleanup EXIT
trap 'exit 1' TERM
`
	s := document.Session{Script: before + rest, Dir: root, Limit: 3 * patience,
		Env:  append(e.environ("CONTAINERS_CONF="+conf), "TMPDIR="+t.TempDir()),
		Attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS},
	}
	s.Env[0] += ":" + filepath.Join(e.dir, "stage/out") // contains the output of its make build
	out := api.RedactKeys(s.Run(t))
	for _, b := range page.Blocks() {
		if b.Language == "text" && strings.Contains(b.Comment, "TestScaleGuide") {
			document.Prints(t, out, b.Body)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}
