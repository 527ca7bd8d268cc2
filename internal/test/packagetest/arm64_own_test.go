//go:build !race

package packagetest

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/releasetest"
)

// Packages' own tests pass on the emulated processor: of sealing, the contract's client, masking, and the formats of
// files. Those that start processes are in internal/test/arm64test.
func TestArm64_OwnTests(t *testing.T) {
	if runtime.GOARCH == "arm64" {
		needs.System(t, "another processor than arm64, where go test runs them all")
	}
	needs.Command(t, "qemu-aarch64")
	environ := append(releasetest.Clean(os.Environ()), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	for _, test := range []struct{ pkg, run string }{
		{"api", "."},
		{"inject/dotenv", "^Test(Parse|Errors|Lines|Guide)"},
		{"fetch", "^Test(Real|TLS|Statuses|Connect)"},
		{"inject/command", "^TestLookup"},
		{"inject/environ", "^Test(Build|Guard)"},
		{"inject/envfile", "^TestEncode"},
		{"inject/signal", "^TestParse"},
		{"inject/supervise", "^TestParse"},
		{"inject/mask", "^TestMask(FormsInGo|Base64|FormsNamed|Labels|Short|Holds|Prompt|Release|Becomes|AfterFlush|WriteError|Shared)"},
	} {
		t.Run(test.pkg, func(t *testing.T) {
			// A vault with megabytes of secrets doesn't answer in time on a busy machine that emulates it.
			out, errs, code := ran(t, environ, "go", "test", "-C", root, "-count=1", "-exec=qemu-aarch64",
				"-run="+test.run, "-skip=^TestRealSecretsPastTheLimitOfAnAnswer$", "./"+test.pkg)
			if code != 0 || !strings.HasPrefix(out, "ok") || strings.Contains(out, "no tests to run") {
				t.Errorf("exit code %d:\n%s%s", code, out, errs)
			}
		})
	}
}
