package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/scripts"
	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// built is the folder with the program under test.
var built string

func TestMain(m *testing.M) {
	os.Exit(testmain.WithFolder(&built, func() int {
		build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v0.0.0-test", "-o", built+"/", ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}))
}

// patience is how long something may take on a busy machine.
const patience = 30 * time.Second

// Each script has a vault with sandbox sb_1, a broker key for it in broker.key, and $UPSTREAM, the URL of a server whose certificate is
// upstream.pem: it writes the Authorization header to the file seen, and answers with it, at /twice two times. It has these commands:
//
//	secret NAME VALUE   store a secret that may be sent to the server, and bind it: $NAME is the placeholder
//	rotate NAME VALUE   give it another value
//	expire NAME VALUE DURATION   give it another value, which expires after that time
//	vault stop|start    stop the vault, or start it again
//	revoke              revoke the broker key
//	broker [ARGS...]    start miosa-egress serve with egress.toml, and set $PROXY to the address of its first listener
//	ends SIGNAL CODE    send it a signal; it must end with that exit code
//	hup                 send it HUP
//	crowd N             open N connections to $PROXY and keep them, until the end of the script
//	until COMMAND...    run a command until it succeeds
//	exits CODE COMMAND...   run a command that must end with that exit code
//	recorded FIELD=VALUE...   wait until the vault's audit has an outgoing request of sb_1 with these fields
//	load NAME           clients send requests with the placeholder of NAME, and trust ca.pem as it is now, until "load end"
//	load end            each has succeeded since "broker" was last called, and at most the requests in flight have failed
//	clean               the log of the broker and all other files have no value of a secret, and no key
func TestScripts(t *testing.T) {
	needs.Command(t, "curl")
	scripts.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			f := newFixture(e)
			e.Values[fixtureKey{}] = f
			for name, value := range map[string]string{
				"PATH": built + ":" + os.Getenv("PATH"), "HOME": e.WorkDir,
				"MIOSA_BASE_URL": f.BaseURL, "MIOSA_EGRESS_SOCKET": e.WorkDir + "/run/egress.sock", "UPSTREAM": f.upstream,
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"secret": cmdSecret, "rotate": cmdRotate, "expire": cmdExpire, "vault": cmdVault, "revoke": cmdRevoke, "broker": cmdBroker,
			"ends": cmdEnds, "hup": cmdHup, "crowd": cmdCrowd, "until": cmdUntil, "exits": cmdExits, "recorded": cmdRecorded, "load": cmdLoad, "clean": cmdClean,
		},
	})
}

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

type fixtureKey struct{}

// fixture is what a script has.
type fixture struct {
	*vaulttest.Server
	t        testing.TB
	upstream string
	port     int
	keyID    string
	secrets  map[string]string // ids by name
	private  []string          // values and keys
	broker   *exec.Cmd
	ended    chan error
	load     *load
}

func fixtureOf(ts *testscript.TestScript) *fixture { return ts.Value(fixtureKey{}).(*fixture) }

func newFixture(e *testscript.Env) *fixture {
	t := e.T().(testing.TB)
	f := &fixture{Server: vaulttest.Start(t), t: t, secrets: map[string]string{}}
	key, id := f.MintBrokerKey(t, sandbox, api.Resource{Type: api.Sandbox, ID: "sb_2"})
	f.keyID, f.private = id, []string{key.Reveal()}
	certificate, file, _ := vaulttest.Certificate(t)
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"broker.key": key.Reveal() + "\n", "upstream.pem": string(pem)} {
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var writing sync.Mutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writing.Lock()
		defer writing.Unlock()
		got := r.Header.Get("Authorization")
		_ = os.WriteFile(filepath.Join(e.WorkDir, "seen"), []byte(got), 0o600)
		if r.URL.Path == "/twice" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = fmt.Fprint(c, strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Echo: "+got+"\r\n\r\nok", 2))
			_ = c.Close()
			return
		}
		_, _ = io.WriteString(w, "you sent "+got+"\n")
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.upstream, f.port = server.URL, server.Listener.Addr().(*net.TCPAddr).Port
	return f
}

func cmdSecret(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	id, placeholder := f.PutPlaceholder(f.t, args[0], args[1], api.EgressRule{Hosts: []string{"127.0.0.1"}, Ports: []int{f.port}}, sandbox, args[0])
	f.secrets[args[0]] = id
	f.private = append(f.private, args[1])
	ts.Setenv(args[0], placeholder)
}

func cmdRotate(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	f.Rotate(f.t, f.secrets[args[0]], args[1])
	f.private = append(f.private, args[1])
}

func cmdExpire(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	left, err := time.ParseDuration(args[2])
	ts.Check(err)
	f.private = append(f.private, args[1])
	body := map[string]any{"value": args[1], "expires_at": time.Now().Add(left)}
	if status, text := f.Do(f.t, f.TenantKey, "PATCH", "/egress/secrets/"+f.secrets[args[0]], body); status != http.StatusOK {
		ts.Fatalf("status %d: %s", status, text)
	}
}

func cmdVault(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	if args[0] == "stop" {
		f.Stop(f.t)
		return
	}
	f.Restart(f.t)
}

func cmdRevoke(ts *testscript.TestScript, _ bool, _ []string) {
	f := fixtureOf(ts)
	if status, text := f.Do(f.t, f.TenantKey, "DELETE", "/egress/keys/"+f.keyID, nil); status/100 != 2 {
		ts.Fatalf("status %d: %s", status, text)
	}
}

func cmdBroker(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	if _, err := os.Stat(ts.MkAbs("egress.toml")); err == nil {
		text := os.Expand(ts.ReadFile("egress.toml"), ts.Getenv)
		if strings.Contains(text, "ANY") {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			ts.Check(err)
			ts.Setenv("PROXY", "http://"+l.Addr().String())
			text = strings.ReplaceAll(text, "ANY", l.Addr().String())
			_ = l.Close()
		}
		ts.Check(os.WriteFile(ts.MkAbs("egress.toml"), []byte(text), 0o600))
	}
	log, err := os.OpenFile(ts.MkAbs("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer func() { _ = log.Close() }()
	p := exec.Command(filepath.Join(built, "miosa-egress"), append([]string{"serve", "--config", ts.MkAbs("egress.toml"), "--log-level", "trace"}, args...)...)
	p.Dir, p.Stderr, p.Stdout = ts.MkAbs("."), log, log
	for _, name := range []string{"PATH", "HOME", "MIOSA_BASE_URL", "MIOSA_EGRESS_SOCKET"} {
		p.Env = append(p.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(p.Start())
	if f.broker != nil && f.load != nil {
		f.load.restarts++
	}
	f.broker, f.ended = p, make(chan error, 1)
	ended := f.ended
	go func() { ended <- p.Wait() }()
	ts.Defer(func() { _ = p.Process.Kill() })
	if !poll.Within(patience, func() bool { return strings.Contains(ts.ReadFile("broker.log"), "broker started") || len(ended) > 0 }) || len(ended) > 0 {
		ts.Fatalf("the broker doesn't start: %s", ts.ReadFile("broker.log"))
	}
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}

func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	ts.Check(f.broker.Process.Signal(signals[args[0]]))
	select {
	case <-f.ended:
	case <-time.After(patience):
		ts.Fatalf("still running after %s", args[0])
	}
	if got := fmt.Sprint(f.broker.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, want %s: %s", got, args[1], ts.ReadFile("broker.log"))
	}
}

func cmdHup(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(fixtureOf(ts).broker.Process.Signal(syscall.SIGHUP))
}

func cmdCrowd(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	address := strings.TrimPrefix(ts.Getenv("PROXY"), "http://")
	for range n {
		c, err := net.Dial("tcp", address)
		ts.Check(err)
		ts.Defer(func() { _ = c.Close() })
	}
}

func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	if !poll.Within(patience, func() bool { err = ts.Exec(args[0], args[1:]...); return err == nil }) {
		ts.Fatalf("%v; the broker says: %s", err, ts.ReadFile("broker.log"))
	}
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func cmdRecorded(ts *testscript.TestScript, _ bool, args []string) {
	f := fixtureOf(ts)
	var text []byte
	if poll.Within(patience, func() bool {
		_, text = f.Do(f.t, f.TenantKey, "GET", "/egress/audit?resource_id=sb_1&since=1d", nil)
		var list struct{ Events []map[string]any }
		ts.Check(json.Unmarshal(text, &list))
		return slices.ContainsFunc(list.Events, func(event map[string]any) bool {
			return !slices.ContainsFunc(args, func(arg string) bool {
				name, want, _ := strings.Cut(arg, "=")
				var got any = event
				for part := range strings.SplitSeq(name, ".") {
					fields, _ := got.(map[string]any)
					got = fields[part]
				}
				if id, ok := strings.CutPrefix(want, "secret:"); ok {
					want = "[" + f.secrets[id] + "]"
				}
				return fmt.Sprint(got) != want
			})
		})
	}) {
		return
	}
	ts.Fatalf("the vault's audit has %s", text)
}

func cmdClean(ts *testscript.TestScript, _ bool, _ []string) {
	f := fixtureOf(ts)
	for path, text := range canary.Files(f.t, ts.MkAbs(".")) {
		name := filepath.Base(path)
		if name == "broker.key" || name == "seen" || name == "script.txtar" {
			continue
		}
		for _, secret := range f.private {
			for _, form := range canary.Forms(secret) {
				if strings.Contains(text, form) {
					ts.Fatalf("%s has a value or a key", name)
				}
			}
		}
	}
}
