//go:build !race

package packagetest

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// The programs for arm64 do what they are for, on an emulated processor where this one is another. The
// emulator keeps signals for itself that supervision needs, so this is about what replaces itself.
func TestArm64(t *testing.T) {
	var emulator []string
	if runtime.GOARCH != "arm64" {
		need(t, "qemu-aarch64")
		emulator = []string{"qemu-aarch64"}
	}
	need(t, "tar")
	dir := t.TempDir()
	said(t, "tar", "-xzf", file(t, "*_linux_arm64.tar.gz"), "-C", dir, "--strip-components=1")
	s := vaulttest.Start(t)
	sandbox := api.Resource{Type: api.Sandbox, ID: "sb_1"}
	s.Put(t, "token", "it's a value", sandbox, "APP_TOKEN")
	key := s.ResourceKey(t, sandbox)
	environ := []string{"PATH=/usr/bin:/bin", "MIOSA_BASE_URL=" + s.BaseURL, "MIOSA_SANDBOX_ID=sb_1", "MIOSA_NO_AGENT=true", "MIOSA_TIMEOUT=60s", "MIOSA_API_KEY=" + key.Reveal()}
	for _, test := range []struct {
		name string
		args []string
		code int
		out  string // is in standard output
		errs string // is in standard error
	}{
		{"version", []string{"--version"}, 0, first, ""},
		{"run", []string{"run", "--", "/bin/sh", "-c", `echo "$APP_TOKEN"`}, 0, "it's a value\n", ""},
		{"exit code", []string{"run", "--", "/bin/sh", "-c", "exit 7"}, 7, "", ""},
		{"not found", []string{"run", "--", "/there/is/no/such"}, 127, "", "no such file"},
		{"required", []string{"run", "--require", "OTHER", "--", "/bin/true"}, 125, "", "required but not set: OTHER"},
		{"export", []string{"export"}, 0, `export APP_TOKEN='it'\''s a value'` + "\n", ""},
		{"export json", []string{"export", "--format", "json"}, 0, `"APP_TOKEN":`, ""},
		{"get", []string{"get", "APP_TOKEN"}, 0, "it's a value", ""},
		{"list", []string{"list"}, 0, "APP_TOKEN", ""},
		{"wrong flag", []string{"run", "--wrong"}, 2, "", "unknown flag"},
	} {
		t.Run(test.name, func(t *testing.T) {
			line := slices.Concat(emulator, []string{filepath.Join(dir, "bin", "miosa-env")}, test.args)
			out, errs, code := ran(t, environ, line[0], line[1:]...)
			if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
				t.Errorf("exit code %d, want %d; %d bytes of output, where %q is wanted; standard error:\n%s", code, test.code, len(out), test.out, errs)
			}
		})
	}
	t.Run("vault", func(t *testing.T) {
		line := slices.Concat(emulator, []string{filepath.Join(dir, "bin", "miosa-vault"), "--version"})
		if out := said(t, line[0], line[1:]...); !strings.Contains(out, first) {
			t.Errorf("miosa-vault --version says %q", out)
		}
	})
}
