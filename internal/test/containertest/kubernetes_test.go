package containertest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// shipped returns an example of packaging/container with some words replaced, each of which must occur.
func shipped(t *testing.T, name string, replaced ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "packaging/container", name))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(replaced); n += 2 {
		if !strings.Contains(string(text), replaced[n]) {
			t.Fatalf("%s doesn't say %q", name, replaced[n])
		}
		text = []byte(strings.ReplaceAll(string(text), replaced[n], replaced[n+1]))
	}
	return string(text)
}

// play makes podman run a Kubernetes example with the vault's address. Its images are those of the tests.
func (s *fixture) play(t *testing.T, name string, replaced ...string) {
	t.Helper()
	s.must(t, "kube", "play", "--network=host", s.pod(t, name, replaced...))
}

// pod writes a Kubernetes example for podman and creates the secret that it names. Both are removed with their
// containers when the test ends.
func (s *fixture) pod(t *testing.T, name string, replaced ...string) string {
	t.Helper()
	needs.Command(t, "/usr/libexec/podman/catatonit") // without it podman makes no pods
	const bound = "- {name: MIOSA_SANDBOX_ID, value: sb_1}"
	pod := shipped(t, name, append(replaced,
		bound, bound+fmt.Sprintf("\n%s- {name: MIOSA_BASE_URL, value: %q}", strings.Repeat(" ", indent(t, name, bound)), s.BaseURL),
		// Debian 12's podman crashes without this field.
		"secretName: miosa-api-key", "secretName: miosa-api-key, optional: false",
	)...)
	dir := t.TempDir()
	// Debian 12's podman expects plain text where Kubernetes has base64.
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: miosa-api-key}\ndata: {key: " + s.key.Reveal() + "}\n"
	for file, text := range map[string]string{"pod.yaml": pod, "secret.yaml": secret} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.must(t, "secret", "create", "miosa-api-key", filepath.Join(dir, "secret.yaml"))
	t.Cleanup(func() {
		for _, args := range [][]string{
			{"kube", "down", filepath.Join(dir, "pod.yaml")},
			{"volume", "rm", "--all", "--force"},
			{"secret", "rm", "miosa-api-key"},
		} {
			if _, err := s.do(args...); err != nil {
				t.Error(err)
			}
		}
	})
	return filepath.Join(dir, "pod.yaml")
}

// indent returns the indentation of the line that contains a text.
func indent(t *testing.T, name, text string) int {
	t.Helper()
	for line := range strings.Lines(shipped(t, name)) {
		if at := strings.Index(line, text); at >= 0 {
			return at
		}
	}
	t.Fatalf("%s doesn't say %q", name, text)
	return 0
}

func TestKubernetesEntrypoint(t *testing.T) {
	s := newFixture(t)
	s.play(t, "kubernetes.yaml", "image: your-app-with-secrets", "image: "+wrapped, `args: ["/app"]`, `args: ["/app", "serve", "TOKEN"]`)
	c := &container{s.engine, "app-pod-0-app"}
	c.prints(t, "serving TOKEN "+sum(value))
	s.Rotate(t, s.secret, "canary-that-is-next")
	c.prints(t, "serving TOKEN "+sum("canary-that-is-next"))
	c.within(t, "uid 65532", "/app", "show")
	if code, _ := c.stop(t, 30); code != "3" {
		t.Errorf("exit code %s, want the command's 3", code)
	}
}

func TestKubernetesInit(t *testing.T) {
	s := newFixture(t)
	file := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(file, []byte("FROM "+busybox+"\nCOPY --from="+theirs+" /app /app\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must(t, "build", "-t", "localhost/init-app", "-f", file, filepath.Dir(file))
	// An emptyDir as Kubernetes creates it with this fsGroup. Debian 12's podman would create one on disk.
	s.must(t, "volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=mode=2777,gid=65532", "values")
	s.play(t, "kubernetes-init.yaml", "image: miosa-env", "image: "+ours, "image: your-app\n", "image: localhost/init-app\n",
		"exec /app", "exec /app serve TOKEN",
		// Otherwise podman removes the finished container, sometimes too early.
		"  name: app\nspec:", "  name: app\n  annotations: {io.podman.annotations.init.container.type: always}\nspec:")
	c := &container{s.engine, "app-app"}
	c.prints(t, "serving TOKEN "+sum(value))
	c.within(t, "uid 65532 mode 0600", "/app", "file", "/run/values/app.env", "TOKEN")
	c.within(t, "MIOSA_API_KEY_FILE isn't set", "/app", "show", "MIOSA_API_KEY_FILE")
}

// podman has no sidecars, so the agent runs as a regular container, and the other one is started when the
// example's probe succeeds.
func TestKubernetesSidecar(t *testing.T) {
	s := newFixture(t)
	probe := regexp.MustCompile(`(?m)^ {6}startupProbe: .*\n {8}exec: \{command: (\[.*\])\}\n {8}periodSeconds: 1\n {8}failureThreshold: 60\n`).
		FindStringSubmatch(shipped(t, "kubernetes-sidecar.yaml"))
	var asks []string
	if probe == nil || json.Unmarshal([]byte(probe[1]), &asks) != nil {
		t.Fatal("kubernetes-sidecar.yaml has no startup probe as expected")
	}
	file := s.pod(t, "kubernetes-sidecar.yaml",
		"  containers:\n    - name: app\n", "    - name: app\n",
		"  initContainers:\n", "  containers:\n", "      restartPolicy: Always\n", "", probe[0], "",
		"image: miosa-env\n", "image: "+ours+"\n", "image: your-app-with-secrets", "image: "+wrapped,
		`args: ["/app"]`, `args: ["/app", "serve", "TOKEN"]`)
	s.must(t, "kube", "play", "--start=false", "--network=host", file)
	agent, app := &container{s.engine, "app-agent"}, &container{s.engine, "app-app"}
	s.must(t, "start", agent.id)
	agent.within(t, "fresh", asks...)
	s.must(t, "start", app.id)
	app.prints(t, "serving TOKEN "+sum(value))
	s.Rotate(t, s.secret, "canary-that-is-next")
	app.prints(t, "serving TOKEN "+sum("canary-that-is-next"))
	app.within(t, "uid 65532 ", "/app", "show")
	app.within(t, "CapBnd: 0000000000000000\nNoNewPrivs: 1\n", "/app", "limits")
	app.within(t, "/run/miosa-key/file wasn't: no such file or directory", "/app", "write", "/run/miosa-key/file")
	if out := app.must(t, "exec", app.id, "/app", "keys"); strings.Contains(out, "HAS A KEY") {
		t.Errorf("the app can read a key:\n%s", out)
	}
	if code, took := app.stop(t, 30); code != "3" || took > 25*time.Second {
		t.Errorf("exit code %s after %v, want the command's 3 at once", code, took)
	}
	if code, took := agent.stop(t, 30); code != "0" || took > 25*time.Second {
		t.Errorf("the agent's exit code is %s after %v, want 0 at once", code, took)
	}
}
