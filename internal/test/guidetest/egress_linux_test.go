package guidetest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/document"
)

func TestEgressGuide(t *testing.T) {
	needs.Command(t, "curl", "ip", "openssl", "python3")
	page := document.Read(t, root+"/docs/egress.md")
	const network = "ip link set lo up\n" // ports of its own
	try := exec.CommandContext(t.Context(), "sh", "-euc", network)
	try.SysProcAttr = namespaces()
	out, err := try.CombinedOutput()
	needs.Granted(t, withOutput(err, out), "user and network namespaces")
	const end = "kill $broker"
	script := strings.Replace(page.Block(t, "Try it", "sh"), head, head+network, 1)
	script = strings.Replace(script, end, page.Block(t, "The network policy", "sh")+end, 1)
	s := session(t, script, "XDG_RUNTIME_DIR="+t.TempDir())
	s.Attr = namespaces()
	document.Prints(t, s.Run(t), page.Block(t, "Try it", "text")+page.Block(t, "The network policy", "text"))
}
