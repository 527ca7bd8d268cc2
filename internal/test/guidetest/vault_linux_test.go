package guidetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
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
	certificate(t, files, "vault.example.com")
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

// certificate writes a certificate for a name and its key to tls.crt and tls.key.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
