package containertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// The Kubernetes examples decode strictly with Kubernetes' own types.
func TestManifests(t *testing.T) {
	examples, err := filepath.Glob(root + "/packaging/container/kubernetes*.yaml")
	if err != nil || len(examples) != 3 {
		t.Fatalf("want three examples, not %v: %v", examples, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	download := exec.CommandContext(ctx, "go", "mod", "download")
	download.Dir = "manifest"
	if out, err := download.CombinedOutput(); err != nil {
		needs.System(t, "Kubernetes' types from the Go module proxy: %v\n%s", err, out)
	}
	program := filepath.Join(t.TempDir(), "manifest")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", "manifest", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	check := func(names ...string) (string, error) {
		c := exec.CommandContext(ctx, program, names...)
		c.WaitDelay = time.Second
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := check(examples...); err != nil || strings.Count(out, "Kind=") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	t.Run("others are refused", func(t *testing.T) {
		for _, test := range []struct{ name, old, new, want string }{
			{"unknown", "startupProbe:", "startsProbe:", `unknown field "spec.initContainers[0].startsProbe"`},
			{"in other letters", "mountPath:", "mountpath:", `.mountpath"`},
			{"elsewhere", "  automountServiceAccountToken:", "  fsGroup: 1\n  automountServiceAccountToken:", `unknown field "spec.fsGroup"`},
			{"of another type", "runAsUser: 65532", `runAsUser: "65532"`, "runAsUser"},
		} {
			file := filepath.Join(t.TempDir(), "pod.yaml")
			if err := os.WriteFile(file, []byte(shipped(t, "kubernetes-sidecar.yaml", test.old, test.new)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := check(file); err == nil || !strings.Contains(out, test.want) {
				t.Errorf("%s: %v, want an error about %s:\n%s", test.name, err, test.want, out)
			}
		}
	})
}
