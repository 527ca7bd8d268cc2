package guidetest

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// namespace turns namespaces into a separate machine: root, a network with only loopback, an empty /var/lib, and
// an /etc whose changes are discarded.
const namespace = `
mount -t tmpfs none "$UPPER"
mkdir "$UPPER/upper" "$UPPER/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$UPPER/upper,workdir=$UPPER/work" /etc
mount -t tmpfs none /var/lib
ip link set lo up
`

// prerequisites provides what docs/vault.md presupposes: a certificate, the vault's host name, and the
// configuration and secrets of the providers.
const prerequisites = `
mkdir /etc/miosa-vault
cp "$FILES"/* /etc/miosa-vault
{ cat /etc/hosts; echo 127.0.0.1 vault.example.com; } >/etc/hosts.new
mv /etc/hosts.new /etc/hosts # not written to: it may belong to somebody else
cd "$(mktemp -d)"
`

func TestVaultGuide(t *testing.T) {
	needs.Command(t, "ip", "mount")
	page := document.Read(t, root+"/docs/vault.md")
	files := t.TempDir()
	_, cert, key := vaulttest.Certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"vault.example.com"} })
	for from, to := range map[string]string{cert: "tls.crt", key: "tls.key"} {
		if err := os.Rename(from, filepath.Join(files, to)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"oauth.toml":         page.Block(t, "OAuth providers", "toml"),
		"github.secret":      "an-example-secret\n",
		"acme-client-secret": "another-example\n",
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := session(t, head+namespace+prerequisites+page.Script(t, "TestVaultGuide", "sh"),
		"UPPER="+t.TempDir(), "FILES="+files, "MIOSA_CA_FILE=/etc/miosa-vault/tls.crt", "CREDENTIALS_DIRECTORY=/etc/miosa-vault")
	s.Attr = namespaces()
	try := exec.CommandContext(t.Context(), "sh", "-euc", namespace)
	try.Env, try.SysProcAttr = append(environ(t), "UPPER="+t.TempDir()), namespaces()
	out, err := try.CombinedOutput()
	needs.Granted(t, withOutput(err, out), "user, mount and network namespaces with an overlay")
	printed := s.Run(t)
	prints(t, page, printed)
	if strings.Contains(printed, " ERR ") {
		t.Error("a vault logged an error")
	}
}

// namespaces makes a process start as root in a new user namespace.
func namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}
