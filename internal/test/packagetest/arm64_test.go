//go:build !race

package packagetest

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// emulated is the arm64 programs, run by an emulator on other processors, and a vault.
type emulated struct {
	*vaulttest.Server
	emulator []string // prefix of a command line
	bin      string
	secret   string // id of APP_TOKEN
	environ  []string
}

func newEmulated(t *testing.T) *emulated {
	t.Helper()
	e := &emulated{}
	if runtime.GOARCH != "arm64" {
		needs.Command(t, "qemu-aarch64")
		e.emulator = []string{"qemu-aarch64"}
	}
	needs.Command(t, "tar")
	dir := t.TempDir()
	output(t, "tar", "-xzf", file(t, "*_linux_arm64.tar.gz"), "-C", dir, "--strip-components=1")
	e.bin = filepath.Join(dir, "bin")
	e.Server = vaulttest.Start(t)
	sandbox := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	e.secret = e.Put(t, "token", "it's a value", sandbox, "APP_TOKEN")
	key := e.ResourceKey(t, sandbox)
	e.environ = []string{
		"PATH=/usr/bin:/bin", "MIOSA_BASE_URL=" + e.BaseURL, "MIOSA_SANDBOX_ID=sb_1", "MIOSA_TIMEOUT=60s",
		"MIOSA_API_KEY=" + key.Reveal(), "MIOSA_SOCKET=" + filepath.Join(dir, "agent.sock"),
	}
	return e
}

// line returns the command line of a program.
func (e *emulated) line(program string, args ...string) []string {
	return slices.Concat(e.emulator, []string{filepath.Join(e.bin, program)}, args)
}

// ran returns the result of a call of miosa-env.
func (e *emulated) ran(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	line := e.line("miosa-env", args...)
	return ran(t, e.environ, line[0], line[1:]...)
}

// The main functions of the programs for arm64. internal/test/arm64test runs them on an arm64 kernel too.
func TestArm64(t *testing.T) {
	e := newEmulated(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		out  string // substring of standard output
		errs string // substring of standard error
	}{
		{"version", []string{"--version"}, 0, first, ""},
		{"run", []string{"run", "--", "/bin/sh", "-c", `echo "$APP_TOKEN"`}, 0, "it's a value\n", ""},
		{"exit code", []string{"run", "--", "/bin/sh", "-c", "exit 7"}, 7, "", ""},
		{"not found", []string{"run", "--", "/there/is/no/such"}, 127, "", "no such file"},
		{"not executable", []string{"run", "--", "/proc/version"}, 126, "", "/proc/version"},
		{"required", []string{"run", "--require", "OTHER", "--", "/bin/true"}, 125, "", "required but not set: OTHER"},
		{"supervised", []string{"run", "--on-change", "restart", "--", "/bin/sh", "-c", `echo "$APP_TOKEN"; exit 255`}, 255, "it's a value\n", ""},
		{"supervised, not found", []string{"run", "--on-change", "restart", "--", "/there/is/no/such"}, 127, "", "no such file"},
		{"killed", []string{"run", "--on-change", "restart", "--", "/bin/sh", "-c", "kill -KILL $$"}, 137, "", ""},
		{"ended by TERM", []string{"run", "--mask", "--", "/bin/sh", "-c", "kill -TERM $$"}, 143, "", ""},
		{"mask", []string{"run", "--mask", "--", "/bin/sh", "-c", `echo "<$APP_TOKEN>"; printf %s "$APP_TOKEN" | base64 >&2; exit 9`}, 9, "<[APP_TOKEN]>\n", "[APP_TOKEN"},
		{"export", []string{"export"}, 0, `export APP_TOKEN='it'\''s a value'` + "\n", ""},
		{"export dotenv", []string{"export", "--format", "dotenv"}, 0, `APP_TOKEN="it's a value"` + "\n", ""},
		{"export json", []string{"export", "--format", "json"}, 0, `"APP_TOKEN": "it's a value"`, ""},
		{"get", []string{"get", "APP_TOKEN"}, 0, "it's a value", ""},
		{"list", []string{"list"}, 0, "APP_TOKEN", ""},
		{"doctor", []string{"doctor"}, 0, "vault: it answers, and its values open", ""},
		{"wrong flag", []string{"run", "--wrong"}, 2, "", "unknown flag"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := e.ran(t, test.args...)
			if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
				t.Errorf("exit code %d, want %d; %d bytes of output, where %q is wanted; standard error:\n%s", code, test.code, len(out), test.out, errs)
			}
		})
	}
}
