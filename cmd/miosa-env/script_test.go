package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/scripts"
	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// built is the folder with the program under test, linked as released, and with miosa-egress.
var built string

func TestMain(m *testing.M) {
	if url := os.Getenv(egressURL); url != "" {
		os.Exit(playClient(url))
	}
	os.Exit(testmain.WithFolder(&built, func() int {
		build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v0.0.0-test", "-o", built+"/", ".", "../miosa-egress")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}))
}

// environ returns the environment of a program under test: PATH, a socket without an agent, and variables.
func environ(variables map[string]string) []string {
	all := map[string]string{"PATH": os.Getenv("PATH"), "MIOSA_SOCKET": filepath.Join(built, "none.sock")}
	maps.Copy(all, variables)
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	return list
}

var sandbox = api.Resource{Type: api.Sandbox, ID: "sb_1"}

// Each script has its own vault and starts with a resource key for sandbox sb_1 in its environment.
func TestScripts(t *testing.T) {
	providers := vaulttest.WithOAuth(t, startProvider(t))
	scripts.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			s := newScriptVault(e.T().(testing.TB), providers)
			e.Values[vaultKey{}] = s
			for name, value := range map[string]string{
				"PATH":             built + ":" + os.Getenv("PATH"),
				"HOME":             e.WorkDir,
				"MIOSA_BASE_URL":   s.BaseURL,
				"MIOSA_API_KEY":    s.key.Reveal(),
				"MIOSA_SANDBOX_ID": sandbox.ID,
				"MIOSA_SOCKET":     filepath.Join(e.WorkDir, "agent.sock"),
				"SHM":              inMemory(e),
				"URL":              s.BaseURL,
				"KEY":              s.key.Reveal(),
				"TENANT_KEY":       s.TenantKey.Reveal(),
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "pidns" {
				return exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run() == nil, nil
			}
			if name == "userns" { // with its own limits
				return exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances").Run() == nil, nil
			}
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			if name == "configured" {
				_, err := os.Stat(config.DefaultPath)
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":    cmdAgent,
			"broker":   cmdBroker,
			"ends":     cmdEnds,
			"exits":    cmdExits,
			"expand":   cmdExpand,
			"signal":   cmdSignal,
			"start":    cmdStart,
			"user":     cmdUser,
			"terminal": cmdTerminal,
			"vault":    cmdVault,
			"waitfor":  cmdWaitFor,
		},
	})
}

type vaultKey struct{}

// scriptVault is the vault of one script.
type scriptVault struct {
	*vaulttest.Server
	tb    testing.TB
	key   api.Key
	keyID string
	ids   map[string]string // of secrets, by the variable to which they are bound

	started      map[string]*exec.Cmd // "": of the script's start; "agent" and "broker": of these commands
	upstreamHost string
	upstreamPort int // of the server behind the script's broker
	brokerKeyID  string
	hanging      atomic.Int32 // number of requests that a hanging vault has received
}

// passed are the variables that start passes on.
var passed = []string{
	"PATH", "HOME", "MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID", "MIOSA_COMPUTER_ID", "MIOSA_TIMEOUT",
	"MIOSA_LOG_LEVEL", "MIOSA_TENANT_KEY", "NO_COLOR", "MIOSA_SOCKET", "MIOSA_NO_AGENT", "MIOSA_CACHE", "MIOSA_CACHE_DIR", "MIOSA_CONFIG",
	"XDG_RUNTIME_DIR", // where run --egress keeps its files
	"GH_TOKEN",        // as MIOSA's platform sets it
}

func (s *scriptVault) variables(ts *testscript.TestScript) []string {
	var list []string
	for _, name := range passed {
		if value := ts.Getenv(name); value != "" {
			list = append(list, name+"="+value)
		}
	}
	return list
}

func newScriptVault(tb testing.TB, o ...vaulttest.Option) *scriptVault {
	s := &scriptVault{Server: vaulttest.Start(tb, o...), tb: tb, ids: map[string]string{}, started: map[string]*exec.Cmd{}}
	s.key, s.keyID = s.MintResourceKey(tb, sandbox)
	return s
}

const vaultUsage = `usage: vault put|placeholder|behind|rotate NAME VALUE
       vault putfile NAME FILE
       vault delete NAME
       vault revoke|revokebroker|mint|stop|start|old|hang|another
       vault platform [tokens|preview] [CALL=STATUS/CODE...]
       vault requests reveal|list|hanging|ROUTE COUNT`

// cmdVault does something to the script's vault. requests waits until there were COUNT, and fails if there are
// more. another starts a second vault and makes it the script's, in its environment too; the first one keeps
// running. old makes MIOSA_BASE_URL a vault without the agent API, hang one that never responds, and platform one
// that answers like MIOSA's platform and refuses reveal or list as configured.
func cmdVault(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(vaultKey{}).(*scriptVault)
	if neg || len(args) == 0 {
		ts.Fatalf(vaultUsage)
	}
	switch what := args[0]; {
	case what == "put" && len(args) == 3:
		s.put(args[1], args[2], "")
	case what == "placeholder" && len(args) == 3:
		s.put(args[1], args[2], api.DeliverPlaceholder)
	case what == "behind" && len(args) == 3:
		s.putBehind(args[1], args[2])
	case what == "putfile" && len(args) == 3:
		s.put(args[1], ts.ReadFile(args[2]), "")
	case what == "rotate" && len(args) == 3:
		s.Rotate(s.tb, s.ids[args[1]], args[2])
	case what == "revokebroker" && len(args) == 1:
		if status, _ := s.Do(s.tb, s.TenantKey, "DELETE", "/egress/keys/"+s.brokerKeyID, nil); status/100 != 2 {
			ts.Fatalf("broker key: status %d", status)
		}
	case what == "delete" && len(args) == 2:
		s.Delete(s.tb, s.ids[args[1]])
	case what == "revoke" && len(args) == 1:
		s.Revoke(s.tb, s.keyID)
	case what == "mint" && len(args) == 1: // replaces the script's key
		s.key, s.keyID = s.MintResourceKey(s.tb, sandbox)
		ts.Setenv("KEY", s.key.Reveal())
		ts.Setenv("MIOSA_API_KEY", s.key.Reveal())
	case what == "another" && len(args) == 1:
		s.Server, s.ids = vaulttest.Start(s.tb), map[string]string{}
		s.key, s.keyID = s.MintResourceKey(s.tb, sandbox)
		for name, value := range map[string]string{
			"URL": s.BaseURL, "MIOSA_BASE_URL": s.BaseURL, "KEY": s.key.Reveal(), "MIOSA_API_KEY": s.key.Reveal(),
			"TENANT_KEY": s.TenantKey.Reveal(),
		} {
			ts.Setenv(name, value)
		}
	case what == "stop" && len(args) == 1:
		s.Stop(s.tb)
	case what == "start" && len(args) == 1:
		s.Restart(s.tb)
	case what == "old" && len(args) == 1:
		ts.Setenv("MIOSA_BASE_URL", s.withoutAgentAPI())
	case what == "platform":
		ts.Setenv("MIOSA_BASE_URL", s.Platform(s.tb, platformOf(ts, args[1:])))
	case what == "hang" && len(args) == 1:
		ts.Setenv("MIOSA_BASE_URL", s.hang())
	case what == "requests" && len(args) == 3:
		want, err := strconv.Atoi(args[2])
		ts.Check(err)
		count := map[string]func() int{
			"reveal":  func() int { return s.Requests("POST /egress/bindings/reveal") },
			"list":    func() int { return s.Requests("GET /egress/bindings") },
			"hanging": func() int { return int(s.hanging.Load()) },
		}[args[1]]
		if strings.Contains(args[1], " ") { // a route in the vault's form
			count = func() int { return s.Requests(args[1]) }
		}
		if got := settled(count, want); got != want {
			ts.Fatalf("%d requests, want %d", got, want)
		}
	default:
		ts.Fatalf(vaultUsage)
	}
}

// platformOf parses the words after vault platform.
func platformOf(ts *testscript.TestScript, words []string) (p vaulttest.Platform) {
	for _, word := range words {
		call, refused, _ := strings.Cut(word, "=")
		text, code, _ := strings.Cut(refused, "/")
		status, err := strconv.Atoi(text)
		switch {
		case word == "tokens":
			p.Tokens = true
		case word == "preview":
			p.Preview = true
		case call == "reveal" && err == nil:
			p.Reveal = vaulttest.Refusal{Status: status, Code: code}
		case call == "list" && err == nil:
			p.Bindings = vaulttest.Refusal{Status: status, Code: code}
		default:
			ts.Fatalf(vaultUsage)
		}
	}
	return p
}

func (s *scriptVault) put(env, value, delivery string) {
	s.ids[env] = s.PutSecret(s.tb, map[string]any{
		"name": "the " + env, "value": value, "delivery": delivery, "expose_as_env": env,
		"resource_type": sandbox.Type, "resource_id": sandbox.ID,
	})
}

// settled returns a count as soon as it is at least want, or after a timeout.
func settled(count func() int, want int) (got int) {
	_ = poll.Within(time.Minute, func() bool { got = count(); return got >= want })
	return got
}

// hang starts a server that accepts requests and never responds, and returns its base URL.
func (s *scriptVault) hang() string {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.hanging.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	s.tb.Cleanup(server.Close)
	return server.URL
}

// withoutAgentAPI starts a server that has everything of the vault except the agent API, like MIOSA's platform,
// and returns its base URL.
func (s *scriptVault) withoutAgentAPI() string {
	target, err := url.Parse(s.BaseURL)
	if err != nil {
		s.tb.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/reveal") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error": "not found", "code": "NOT_FOUND", "request_id": "r"}`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	s.tb.Cleanup(server.Close)
	return server.URL + target.Path
}

// cmdExits runs a program and checks its exit code, 128+n if signal n ended it.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = codeOf(exit.ProcessState)
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func codeOf(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}

// cmdStart starts a program in the background, with its output in the files out and log.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: start PROGRAM [ARG...]")
	}
	start(ts, "", "out", "log", args...)
}

// cmdAgent starts miosa-env agent in the background, with its log in the file agent.log, and waits until it
// answers.
func cmdAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: agent [ARG...]")
	}
	start(ts, "agent", "agent.out", "agent.log", append([]string{"miosa-env", "agent"}, args...)...)
	if !poll.Within(time.Minute, func() bool { return ts.Exec("sh", "-c", "miosa-env status >status.out 2>&1; test $? -ne 125") == nil }) {
		ts.Fatalf("no agent; its log:\n%s", ts.ReadFile("agent.log"))
	}
}

func start(ts *testscript.TestScript, name, output, errors string, args ...string) {
	s := ts.Value(vaultKey{}).(*scriptVault)
	command := exec.Command("env", append([]string{"-i"}, append(s.variables(ts), args...)...)...)
	command.Dir = ts.MkAbs(".")
	out, err := os.Create(ts.MkAbs(output))
	ts.Check(err)
	log, err := os.Create(ts.MkAbs(errors))
	ts.Check(err)
	command.Stdout, command.Stderr = out, log
	ts.Check(command.Start())
	ts.Check(out.Close())
	ts.Check(log.Close())
	s.started[name] = command
	ts.Defer(func() {
		if command.ProcessState == nil {
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	})
}

// cmdEnds waits for a started program and checks its exit code.
func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: ends CODE [agent]")
	}
	command := startedAs(ts, args[1:])
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	_ = command.Wait() // the exit code is checked instead
	if got := codeOf(command.ProcessState); got != want {
		ts.Fatalf("exit code %d, want %d; its log:\n%s", got, want, ts.ReadFile(append([]string{"log"}, "agent.log")[len(args)-1]))
	}
}

// cmdUser acts as a user who opens the link that a started program has printed.
func cmdUser(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: user allows|denies|fails")
	}
	if !poll.Within(time.Minute, func() bool { return linkLine.MatchString(ts.ReadFile("out")) }) {
		ts.Fatalf("no link was printed; the log:\n%s", ts.ReadFile("log"))
	}
	ts.Check(ts.Value(vaultKey{}).(*scriptVault).consent(args[0], ts.ReadFile("out")))
}

// cmdSignal sends a signal to a started program.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "QUIT": syscall.SIGQUIT}
	if neg || len(args) < 1 || len(args) > 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|INT|HUP|KILL|STOP|QUIT [agent]")
	}
	ts.Check(startedAs(ts, args[1:]).Process.Signal(signals[args[0]]))
}

// startedAs returns what start or, with a name, agent has started.
func startedAs(ts *testscript.TestScript, name []string) *exec.Cmd {
	command := ts.Value(vaultKey{}).(*scriptVault).started[strings.Join(name, "")]
	if command == nil {
		ts.Fatalf("nothing was started")
	}
	return command
}

// cmdExpand replaces variables in files by their values.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		text := ts.ReadFile(name)
		for _, variable := range []string{"WORK", "SHM", "URL"} {
			text = strings.ReplaceAll(text, "$"+variable, ts.Getenv(variable))
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// inMemory gives a script a directory on a tmpfs.
func inMemory(e *testscript.Env) string {
	dir, err := os.MkdirTemp("/dev/shm", "miosa-env-test-")
	if err != nil {
		e.T().Fatal("no directory in memory: ", err)
	}
	e.Defer(func() { _ = os.RemoveAll(dir) })
	return dir
}

// cmdWaitFor waits until a file matches a pattern, as often as requested.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	count := 1
	if len(args) == 3 {
		n, err := strconv.Atoi(strings.TrimPrefix(args[0], "-count="))
		ts.Check(err)
		count, args = n, args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor [-count=N] PATTERN FILE")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var text []byte
	if !poll.Within(time.Minute, func() bool {
		text, _ = os.ReadFile(ts.MkAbs(args[1])) // may not exist yet
		return len(pattern.FindAllIndex(text, -1)) >= count
	}) {
		ts.Fatalf("%s doesn't match %s %d times:\n%s", args[1], args[0], count, text)
	}
}
