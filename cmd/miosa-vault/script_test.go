package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/scripts"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

func TestMain(m *testing.M) {
	testscript.Main(withServers{m}, map[string]func(){
		"miosa-vault": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// Each script has two certificates, $WORK/a and $WORK/b (.pem and .key), and these commands in addition to
// testscript's own:
//
//	vault ARGS...          start miosa-vault dev or serve, and set the variables that it exports
//	ends SIGNAL CODE       send it a signal; it must end with that exit code; out.txt, err.txt: its output
//	hup                    send HUP and wait until the result is logged
//	exits CODE COMMAND...  run a command that must end with that exit code
//	call STATUS METHOD PATH [BODY]   with $KEY, as a client that trusts $CA; writes the response's body to stdout.txt
//	reveals [NAME=VALUE...]          with $MIOSA_API_KEY: the set must equal these; a line break is \n
//	sql STATEMENT          run it on the database in the folder data, as somebody without the root key could
//	save VARIABLE FILE     set a variable to a file's first line
func TestScripts(t *testing.T) {
	scripts.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"a", "b"} {
				_, cert, key := vaulttest.Certificate(e.T().(testing.TB))
				if err := errors.Join(os.Rename(cert, e.WorkDir+"/"+name+".pem"), os.Rename(key, e.WorkDir+"/"+name+".key")); err != nil {
					return err
				}
			}
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir+"/run")
			return os.Mkdir(e.WorkDir+"/run", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vault": cmdVault, "ends": cmdEnds, "hup": cmdHup, "exits": cmdExits, "call": cmdCall, "reveals": cmdReveals, "save": cmdSave, "sql": cmdSQL,
		},
	})
}

// running maps a script's working directory to its vault.
var running sync.Map // of *process

func current(ts *testscript.TestScript) *process {
	p, ok := running.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no vault is running")
	}
	return p.(*process)
}

func cmdVault(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath("miosa-vault")
	ts.Check(err)
	p := &process{Cmd: exec.Command(path, args...)}
	p.Dir = ts.Getenv("WORK")
	for _, name := range []string{"HOME", "PATH", "XDG_RUNTIME_DIR", "MIOSA_VAULT_ROOT_KEY", "CREDENTIALS_DIRECTORY"} {
		if v := ts.Getenv(name); v != "" {
			p.Env = append(p.Env, name+"="+v)
		}
	}
	ts.Check(p.start())
	running.Store(p.Dir, p)
	ts.Defer(func() {
		p.kill()
		running.CompareAndDelete(p.Dir, p)
	})
	if args[0] == "dev" {
		p.await(ts, "it is ready", func() bool { out, _ := p.text(); return strings.HasSuffix(out, "# ready\n") })
		out, _ := p.text()
		for line := range strings.Lines(out) {
			if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
				name, value, _ := strings.Cut(assignment, "=")
				ts.Setenv(name, value)
			}
		}
		return
	}
	url, addr := p.serves(ts)
	ts.Setenv("MIOSA_BASE_URL", url)
	ts.Setenv("ADDR", addr)
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL}

func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	p := current(ts)
	ts.Check(p.Process.Signal(signals[args[0]]))
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("still running after %s", args[0])
	}
	running.CompareAndDelete(p.Dir, p)
	out, text := p.text()
	ts.Check(os.WriteFile(filepath.Join(p.Dir, "out.txt"), []byte(out), 0o600))
	ts.Check(os.WriteFile(filepath.Join(p.Dir, "err.txt"), []byte(text), 0o600))
	if got := fmt.Sprint(p.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, want %s: %s", got, args[1], text)
	}
}

func cmdHup(ts *testscript.TestScript, _ bool, _ []string) {
	p := current(ts)
	told := func() int { _, text := p.text(); return strings.Count(text, "reload") }
	before := told()
	ts.Check(p.Process.Signal(syscall.SIGHUP))
	p.await(ts, "the log mentions the reload", func() bool { return told() > before })
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func send(ts *testscript.TestScript, key, method, path, body string) (int, []byte) {
	transport := &http.Transport{DisableKeepAlives: true}
	if ca := ts.Getenv("CA"); ca != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(ts.ReadFile(ca)))
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	req, err := http.NewRequestWithContext(context.Background(), method, ts.Getenv("MIOSA_BASE_URL")+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := transport.RoundTrip(req)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	return res.StatusCode, text
}

func cmdCall(ts *testscript.TestScript, _ bool, args []string) {
	status, text := send(ts, ts.Getenv("KEY"), args[1], args[2], strings.Join(args[3:], " "))
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("status %d, want %s: %s", status, args[0], text)
	}
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), text, 0o600))
}

func cmdReveals(ts *testscript.TestScript, _ bool, args []string) {
	r := api.Resource{Type: api.Sandbox, ID: ts.Getenv("MIOSA_SANDBOX_ID")}
	if id := ts.Getenv("MIOSA_COMPUTER_ID"); id != "" {
		r = api.Resource{Type: api.Computer, ID: id}
	}
	opener, err := api.NewOpener(r)
	ts.Check(err)
	body, err := json.Marshal(opener.Request())
	ts.Check(err)
	status, text := send(ts, ts.Getenv("MIOSA_API_KEY"), "POST", "/egress/bindings/reveal", string(body))
	if status != http.StatusOK {
		ts.Fatalf("status %d: %s", status, text)
	}
	var sealed api.RevealAnswer
	ts.Check(json.Unmarshal(text, &sealed))
	snapshot, err := opener.Open(sealed)
	ts.Check(err)
	got := []string{}
	for _, b := range snapshot.Bound {
		got = append(got, b.ExposeAsEnv+"="+strings.ReplaceAll(b.Value.Reveal(), "\n", `\n`))
	}
	if diff := cmp.Diff(append([]string{}, args...), got); diff != "" {
		ts.Fatalf("(-want +got):\n%s", diff)
	}
}

func cmdSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs("data/vault.db"))
	ts.Check(err)
	_, err = db.ExecContext(context.Background(), strings.Join(args, " "))
	ts.Check(errors.Join(err, db.Close()))
}

func cmdSave(ts *testscript.TestScript, _ bool, args []string) {
	lines := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[1])))
	if !lines.Scan() {
		ts.Fatalf("%s is empty", args[1])
	}
	ts.Setenv(args[0], lines.Text())
}
