package guidetest

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

func TestSandboxSession(t *testing.T) {
	needs.Command(t, "git", "make", "python3")
	page := document.Read(t, root+"/docs/sandbox.md")
	out := session(t, page.Block(t, "Try it", "sh")).Run(t)
	document.Prints(t, out, page.Block(t, "Try it", "text"))
	if strings.Contains(out, "\nfail ") {
		t.Error("doctor finds something")
	}
}

// platform provides what docs/sandbox.md presupposes of a sandbox where root creates users: a key, and a vault
// that accepts it. The socket is the machine's, because all users look for it there; /run is private to the
// session.
const platform = `
unset MIOSA_SOCKET
mount -t tmpfs none /run
cd "$(mktemp -d)"
echo GH_TOKEN=an-example-token > example.env
miosa-vault dev --resource sandbox:sb_1 --seed example.env > dev.sh & vault=$!
until grep -q '# ready' dev.sh; do sleep 0.1; done
. ./dev.sh
`

func TestSandboxUsers(t *testing.T) {
	needs.Root(t, "to add users")
	needs.Command(t, "ip", "mount", "useradd", "setpriv")
	page := document.Read(t, root+"/docs/sandbox.md")
	// Root's user namespace, because a new one would have only one user.
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	try := exec.CommandContext(t.Context(), "sh", "-euc", "mount --make-rprivate /\n"+namespace)
	try.Env, try.SysProcAttr = append(environ(t), "UPPER="+t.TempDir()), attr
	out, err := try.CombinedOutput()
	needs.Granted(t, withOutput(err, out), "mount and network namespaces with an overlay")
	s := session(t, head+"mount --make-rprivate /\n"+namespace+platform+page.Block(t, "Users", "sh")+"kill $vault\n", "UPPER="+t.TempDir())
	s.Attr = &syscall.SysProcAttr{Cloneflags: attr.Cloneflags}
	document.Prints(t, s.Run(t), page.Block(t, "Users", "text"))
}
