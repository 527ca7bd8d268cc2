package egresstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/memoryimage"
	"github.com/Miosa-osa/miosa-env/internal/test/netns"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// patience is how long something may take on a busy machine.
const patience = time.Minute

// The addresses of the sandbox, and of its host, where the broker listens; and those between the host and the internet.
const (
	sandboxAddress  = "198.18.78.2"
	brokerAddress   = "198.18.78.1"
	brokerPort      = 3128
	outsideAddress  = "198.18.78.5"
	internetAddress = "198.18.78.6"
)

// The hosts of the servers.
const (
	apiHost    = "api.example.com"
	oldHost    = "old.example.com" // which has no HTTP/2
	secondHost = "second.example.com"
	plainHost  = "plain.example.com" // without TLS
	modelHost  = "api.openai.com"
	gitHost    = "github.com"
	storeHost  = "s3.us-east-1.amazonaws.com"
	rpcHost    = "grpc.example.com"
	socketHost = "ws.example.com"
)

// secrets are those of the vault, by the variable that they are bound to, with what is typed to store them. More bindings and
// rules are in the names of API's.
var secrets = []secret{
	{"API_TOKEN", "sandbox:sb_1", []string{"--egress-host", strings.Join([]string{apiHost, oldHost, rpcHost, socketHost}, ",")}},
	{"OPENAI_API_KEY", "sandbox:sb_1", []string{"--for", "openai"}},
	{"GITHUB_TOKEN", "sandbox:sb_1", []string{"--for", "github"}},
	{"AWS_SECRET_ACCESS_KEY", "sandbox:sb_1", []string{"--for", "aws"}},
	{"AWS_ACCESS_KEY_ID", "sandbox:sb_1", []string{"--egress-host", "*.amazonaws.com", "--egress-slot", "sigv4-id", "--egress-prefix", "AKIA", "--egress-length", "30"}},
	{"SECOND_TOKEN", "sandbox:sb_1", []string{"--egress-host", secondHost}},
	{"NEIGHBOR_TOKEN", "sandbox:sb_2", []string{"--egress-host", apiHost}},
}

type secret struct {
	variable, resource string
	args               []string
}

// world is a sandbox, the host with its broker and a vault, and servers.
type world struct {
	sandbox, host, far *netns.Network
	dir                string // what the sandbox sees: the working and temporary folders of its commands, and certificates
	marks              memoryimage.Marks
	internet           *ca.Authority // of the servers
	memory             string        // a folder in memory, which the sandbox sees too
	entrance           string        // the URL of the vault in the sandbox
	vault              *devvault.Vault
	repositories       string // of the git server
	broker             *exec.Cmd
	log                string // of the broker
	placeholders       map[string]string
	accepted           map[string]*atomic.Int64 // connections, by host

	mu       sync.Mutex // guards the following
	versions map[string][]int
	gates    map[string]*gate
}

func newWorld(t *testing.T) *world {
	t.Helper()
	needs.Root(t, "to connect two network namespaces")
	needs.Command(t, "ip", "unshare", "mount", "git", "curl")
	build(t)
	w := &world{
		sandbox: netns.New(t), host: netns.New(t), far: netns.New(t), dir: t.TempDir(), marks: memoryimage.NewMarks(),
		placeholders: map[string]string{}, accepted: map[string]*atomic.Int64{}, versions: map[string][]int{}, gates: map[string]*gate{},
	}
	w.connect(t)
	w.makeRepository(t)
	w.serve(t)
	w.startVault(t)
	w.startBroker(t)
	w.startEntrance(t)
	return w
}

// startEntrance makes the vault known in the sandbox, which gets placeholders from it.
func (w *world) startEntrance(t *testing.T) {
	t.Helper()
	var l net.Listener
	var err error
	w.sandbox.Do(func() { l, err = net.Listen("tcp", "127.0.0.1:0") })
	if err == nil {
		w.memory, err = os.MkdirTemp("/dev/shm", "egresstest-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.memory) })
	w.entrance = "http://" + l.Addr().String()
	vault := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", strings.TrimPrefix(w.vault.URL(), "http://")
		},
		Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
			w.host.Do(func() { c, err = net.Dial(network, address) })
			return c, err
		}},
	}
	server := &http.Server{Handler: vault, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

// connect connects the sandbox with its host and nothing else, and the host with the internet.
func (w *world) connect(t *testing.T) {
	t.Helper()
	w.host.Run(t, "ip", "link", "add", "sandbox", "type", "veth", "peer", "name", "host", "netns", w.sandbox.Name())
	w.host.Run(t, "ip", "link", "add", "internet", "type", "veth", "peer", "name", "host", "netns", w.far.Name())
	for _, end := range []struct {
		in              *netns.Network
		device, address string
	}{{w.host, "sandbox", brokerAddress}, {w.sandbox, "host", sandboxAddress}, {w.host, "internet", outsideAddress}, {w.far, "host", internetAddress}} {
		end.in.Run(t, "ip", "link", "set", "lo", "up")
		end.in.Run(t, "ip", "addr", "add", end.address+"/30", "dev", end.device)
		end.in.Run(t, "ip", "link", "set", end.device, "up")
	}
	w.host.Run(t, "ip", "route", "add", "default", "via", internetAddress)
}

// start starts a command in a network.
func start(t testing.TB, in *netns.Network, c *exec.Cmd) {
	t.Helper()
	var err error
	in.Do(func() { err = c.Start() })
	if err != nil {
		t.Fatal(err)
	}
}

// env runs miosa-env on the host with the tenant key, and returns what it prints.
func (w *world) env(t testing.TB, stdin string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), program("miosa-env"), args...)
	c.Env = w.vault.Environ("MIOSA_BASE_URL", "MIOSA_TENANT_KEY")
	c.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	start(t, w.host, c)
	if err := c.Wait(); err != nil {
		t.Fatalf("miosa-env %s: %v: %s", args, err, &stderr)
	}
	return stdout.Bytes()
}

// value returns the value of a secret in a version.
func (w *world) value(variable string, version int) string {
	i := slices.IndexFunc(secrets, func(s secret) bool { return s.variable == variable })
	filler := "q/W+"
	if variable == "AWS_ACCESS_KEY_ID" { // ends at a slash
		filler = "A7"
	}
	return w.marks.Value(100*version+i, 8, filler)
}

// versionOf returns the version of a secret with a value, and 0 if there is none.
func (w *world) versionOf(variable, value string) int {
	for version := range 2 {
		if value == w.value(variable, version+1) {
			return version + 1
		}
	}
	return 0
}

// startVault starts a vault with the secrets.
func (w *world) startVault(t *testing.T) {
	t.Helper()
	var err error
	w.host.Do(func() { w.vault, err = devvault.Start(t.Context(), nil, program("miosa-vault")) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.vault.Stop(0) })
	for _, s := range secrets {
		args := []string{"secrets", "set", s.variable, "--json", "--bind", s.resource + "=" + s.variable, "--delivery", "placeholder"}
		var made struct {
			Bindings []struct {
				Token string `json:"placeholder_token"`
			}
		}
		if err := json.Unmarshal(w.env(t, w.value(s.variable, 1), append(args, s.args...)...), &made); err != nil {
			t.Fatal(err)
		}
		w.placeholders[s.variable] = made.Bindings[0].Token
	}
}

// rotate gives each secret its second value, and waits until the broker has them.
func (w *world) rotate(t *testing.T) {
	t.Helper()
	for _, s := range secrets {
		w.env(t, w.value(s.variable, 2), "secrets", "rotate", s.variable)
	}
	current := regexp.MustCompile(`(?m) version 2( |$)`)
	var status []byte
	if !poll.Within(patience, func() bool {
		status, _ = w.brokerCommand(t, "status").Output() // it fails until there is a set
		return len(current.FindAll(status, -1)) == len(secrets)-1
	}) {
		t.Fatalf("the broker has no second versions:\n%s", status)
	}
}

func (w *world) brokerCommand(t testing.TB, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), program("miosa-egress"), args...)
	c.Env = append(w.vault.Environ("MIOSA_BASE_URL"), "MIOSA_EGRESS_SOCKET="+filepath.Join(filepath.Dir(w.log), "egress.sock"))
	return c
}

// startBroker starts the broker of sandbox:sb_1, for which the hosts have the addresses of the servers.
func (w *world) startBroker(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	w.log = file("log", "")
	w.env(t, "", "keys", "create", "--broker", "--resource", "sandbox:sb_1", "--out", filepath.Join(dir, "key"))
	config := file("egress.toml", fmt.Sprintf(`key_file = %q

[[listener]]
address = %q
sandbox_id = "sb_1"
ca_file = %q
ca_hosts = ["*.example.com", "api.openai.com", "github.com", "*.amazonaws.com"]
upstream_ca_file = %q
`, filepath.Join(dir, "key"), fmt.Sprintf("%s:%d", brokerAddress, brokerPort), filepath.Join(w.dir, "broker.pem"), file("internet.pem", string(w.internet.PEM()))))
	var names strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&names, "%s %s\n", serverAddress(i), s.host)
	}
	// Only the broker has this file at the place of /etc/hosts.
	c := w.brokerCommand(t, "serve", "--config", config, "--log-level", "trace")
	c.Args = append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, file("hosts", names.String())}, c.Args...)
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatal(err)
	}
	c.Path = path
	log, err := os.OpenFile(w.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c.Stdout, c.Stderr = log, log
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	start(t, w.host, c)
	w.broker = c
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = c.Process.Kill()
			t.Error("the broker doesn't end")
		}
		if code := c.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the broker ended with %d", code)
		}
	})
	if !poll.Within(patience, func() bool { return len(ended) > 0 || w.brokerCommand(t, "status").Run() == nil }) || len(ended) > 0 {
		text, _ := os.ReadFile(w.log)
		t.Fatalf("the broker doesn't start: %s", text)
	}
}
