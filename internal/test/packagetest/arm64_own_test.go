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

// Tests of other packages pass on the emulated processor: sealing, the API client, masking, and file formats.
// Those that start processes are in internal/test/arm64test.
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
			// A test that is too slow for its limits under emulation on a busy machine.
			out, errs, code := ran(t, environ, "go", "test", "-C", root, "-count=1", "-exec=qemu-aarch64",
				"-run="+test.run, "-skip=^TestRealSecretsPastTheLimitOfAnAnswer$", "./"+test.pkg)
			if code != 0 || !strings.HasPrefix(out, "ok") || strings.Contains(out, "no tests to run") {
				t.Errorf("exit code %d:\n%s%s", code, out, errs)
			}
		})
	}
}
