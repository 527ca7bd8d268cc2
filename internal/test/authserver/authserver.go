// Package authserver runs an independent authorization server for tests: the npm package oidc-provider, which is certified for
// OpenID Connect. It has pages to sign in and to consent, requires PKCE, rotates refresh tokens and sends its issuer with each
// code (RFC 9207).
//
//	s := authserver.Start(t, authserver.Config{RedirectURIs: []string{callback}, TokenLife: 5 * time.Second})
//	... a browser goes to s.Issuer + "/auth?...": authserver.SignIn("ada"), authserver.Allow()
//	s.Break(t, authserver.FailAfter, 1, "")
//
// OIDC_PROVIDER_DIR is the folder of the installed package. The node in PATH must be 22.1 or later, or a late 20. Tests are
// skipped if one of them is missing.
package authserver

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	_ "embed" // the launcher
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

//go:embed launcher.mjs
var launcher []byte

// Config configures a server. The zero value is for the machine client only.
type Config struct {
	RedirectURIs []string      // of the clients Basic and Post, compared exactly
	TokenLife    time.Duration // of access tokens, in whole seconds; zero: an hour
	KeepRefresh  bool          // do not rotate refresh tokens
	Scopes       []string      // that clients may request; nil: openid, offline_access, email, repo
}

// Client is a client of the server.
type Client struct{ ID, Secret string }

// Server is an authorization server of one test. It stops when the test ends.
type Server struct {
	settings
	Issuer string // its URL, without a trailing slash; Restart doesn't change it

	script  string
	process *exec.Cmd // nil while stopped
	stdin   io.Closer
	stderr  *bytes.Buffer
}

// settings is the input of the launcher.
type settings struct {
	Package   string   `json:"package"`
	Host      string   `json:"host"`
	Port      int      `json:"port"`
	State     string   `json:"state"`
	Redirects []string `json:"redirects"`
	Scopes    []string `json:"scopes"`
	TTL       int      `json:"ttl"` // seconds
	Rotate    bool     `json:"rotate"`
	Basic     Client   `json:"basic"`   // sends its secret in the Authorization header
	Post      Client   `json:"post"`    // sends its secret in the body
	Machine   Client   `json:"machine"` // may use the client credentials grant only; sends its secret in the header
}

// Start starts a server on a loopback port.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	needs.Command(t, "node")
	dir := needs.NPM(t, "oidc-provider")
	temp := t.TempDir()
	s := &Server{script: filepath.Join(temp, "launcher.mjs"), settings: settings{
		Package: dir, Host: "localhost", // not 127.0.0.1, so that it is another site than the test's other servers
		State:     filepath.Join(temp, "state.json"),
		Redirects: c.RedirectURIs, Scopes: c.Scopes, TTL: int(cmp.Or(c.TokenLife, time.Hour) / time.Second), Rotate: !c.KeepRefresh,
		Basic: newClient("basic"), Post: newClient("post"), Machine: newClient("machine"),
	}}
	if s.Redirects == nil {
		s.Redirects = []string{"http://127.0.0.1:1/none"}
	}
	if s.Scopes == nil {
		s.Scopes = []string{"openid", "offline_access", "email", "repo"}
	}
	if err := os.WriteFile(s.script, launcher, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(t) })
	s.Restart(t)
	return s
}

func newClient(id string) Client { return Client{ID: id, Secret: rand.Text()} }

// Restart stops the server if it is running, and starts it again on the same port. It keeps users, grants and tokens.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	p := exec.Command("node", s.script) //nolint:noctx // ends with its stdin, see Stop
	p.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE_ENV=test"}
	s.stderr = &bytes.Buffer{}
	p.Stderr = s.stderr
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.stdin = p, stdin
	if err := json.NewEncoder(stdin).Encode(s.settings); err != nil {
		s.Stop(t)
		t.Fatalf("the authorization server didn't start: %v\n%s", err, s.stderr)
	}

	// It prints its port when it listens. If it is killed, the read ends.
	slow := time.AfterFunc(30*time.Second, func() { _ = p.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	slow.Stop()
	var answer struct {
		Port  int
		Unfit string
	}
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	switch {
	case err != nil:
		s.Stop(t)
		t.Fatalf("the authorization server didn't start: %v\n%s", err, s.stderr)
	case answer.Unfit != "":
		s.Stop(t)
		needs.NewerNode(t, answer.Unfit)
	}
	s.Port = answer.Port
	s.Issuer = "http://" + s.Host + ":" + strconv.Itoa(answer.Port)
}

// Stop stops the server, if it is running.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.process == nil {
		return
	}
	_ = s.stdin.Close()
	slow := time.AfterFunc(5*time.Second, func() { _ = s.process.Process.Kill() })
	_ = s.process.Wait() // its exit status does not matter
	slow.Stop()
	s.process = nil
}
