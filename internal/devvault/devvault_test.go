package devvault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStart(t *testing.T) {
	const all = "export MIOSA_BASE_URL=http://127.0.0.1:1/api/v1\nexport MIOSA_API_KEY='k'\nexport MIOSA_SANDBOX_ID=\"sb\"\nexport MIOSA_TENANT_KEY=t\n"
	for _, tc := range []struct {
		name, out, err string
	}{
		{"all", all + "# ready\n", ""},
		{"not ready", all, "vault ended with 3: reason"},
		{"nothing", "", "vault ended with 3: reason"},
		{"one missing", "export MIOSA_BASE_URL=x\n# ready\n", "vault printed no MIOSA_API_KEY"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vault")
			script := "#!/bin/sh\ntrap 'exit 3' TERM\ncat <<'END'\n" + tc.out + "END\necho reason >&2\nexit 3\n"
			if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			v, err := Start(t.Context(), nil, path)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"PATH=" + os.Getenv("PATH"), "MIOSA_API_KEY=k", "MIOSA_SANDBOX_ID=sb"}
			if diff := cmp.Diff(want, v.Environ("MIOSA_API_KEY", "MIOSA_SANDBOX_ID")); diff != "" || v.URL() != "http://127.0.0.1:1" {
				t.Errorf("URL %s; environment (-want +got):\n%s", v.URL(), diff)
			}
			if err := v.Stop(3); err != nil {
				t.Error(err)
			}
		})
	}
}
