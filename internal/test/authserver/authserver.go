// Package authserver runs an authorization server that we didn't write, for tests: the npm package
// oidc-provider, which is certified for OpenID Connect. It has its own pages to sign in and to consent,
// asks for PKCE, rotates refresh tokens and sends its issuer along with each code (RFC 9207).
//
//	s := authserver.Start(t, authserver.Config{RedirectURIs: []string{callback}, TokenLife: 5 * time.Second})
//	... a browser goes to s.Issuer + "/auth?...": authserver.SignIn("ada"), authserver.Allow()
//	s.Break(t, authserver.FailAfter, 1, "")
//
// OIDC_PROVIDER_DIR names the folder of the installed package; the node in PATH must be 22.1 or later, or a late 20.
// Where one of them is missing, tests are skipped.
package authserver

import (
	"bufio"
	"bytes"
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

// Config is how a server is to be. The zero value serves the machine client only.
type Config struct {
	RedirectURIs []string      // of the clients Basic and Post, compared as they stand
	TokenLife    time.Duration // of access tokens, in whole seconds; zero: an hour
	KeepRefresh  bool          // refresh tokens stay the same, instead of a new one at each use
	Scopes       []string      // that clients may ask for; nil: openid, offline_access, email, repo
}

// Client is what a client of the server is known by.
type Client struct{ ID, Secret string }

// Server is an authorization server that a test has to itself. It stops with the test.
type Server struct {
	Issuer string // and its address, without a slash at the end; stays the same across Restart

	Basic   Client // sends its secret in the Authorization header
	Post    Client // sends its secret in the body
	Machine Client // may use the client credentials grant only, and sends its secret in the header

	settings settings
	script   string
	process  *exec.Cmd // nil while stopped
	stdin    io.Closer
	said     *bytes.Buffer // what it wrote to stderr, for a start that went wrong
}

// settings is what the launcher reads.
type settings struct {
	Package   string   `json:"package"`
	Host      string   `json:"host"`
	Port      int      `json:"port"`
	State     string   `json:"state"`
	Redirects []string `json:"redirects"`
	Scopes    []string `json:"scopes"`
	TTL       int      `json:"ttl"` // seconds
	Rotate    bool     `json:"rotate"`
	Basic     Client   `json:"basic"`
	Post      Client   `json:"post"`
	Machine   Client   `json:"machine"`
}

// Start starts a server on a loopback port.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	needs.Command(t, "node")
	dir := needs.NPM(t, "oidc-provider")
	temp := t.TempDir()
	s := &Server{
		Basic: newClient("basic"), Post: newClient("post"), Machine: newClient("machine"),
		script: filepath.Join(temp, "launcher.mjs"),
	}
	s.settings = settings{
		Package: dir, Host: "localhost", // not 127.0.0.1: another site than what else a test serves, as it is in life
		State:     filepath.Join(temp, "state.json"),
		Redirects: c.RedirectURIs, Scopes: c.Scopes, TTL: int(c.TokenLife / time.Second), Rotate: !c.KeepRefresh,
		Basic: s.Basic, Post: s.Post, Machine: s.Machine,
	}
	if s.settings.Redirects == nil {
		s.settings.Redirects = []string{"http://127.0.0.1:1/none"}
	}
	if s.settings.Scopes == nil {
		s.settings.Scopes = []string{"openid", "offline_access", "email", "repo"}
	}
	if s.settings.TTL == 0 {
		s.settings.TTL = 3600
	}
	if err := os.WriteFile(s.script, launcher, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(t) })
	s.Restart(t)
	return s
}

func newClient(id string) Client { return Client{ID: id, Secret: rand.Text()} }

// Restart starts the server again on the same port; it stops it first if it runs. It still knows its
// users, grants and tokens.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	p := exec.Command("node", s.script) //nolint:noctx // ends with its stdin, see Stop
	p.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE_ENV=test"}
	s.said = &bytes.Buffer{}
	p.Stderr = s.said
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
		t.Fatalf("the authorization server didn't start: %v\n%s", err, s.said)
	}

	// It says its port once it listens. Killing it ends the reading.
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
		t.Fatalf("the authorization server didn't start: %v\n%s", err, s.said)
	case answer.Unfit != "":
		s.Stop(t)
		needs.NewerNode(t, answer.Unfit)
	}
	s.settings.Port = answer.Port
	s.Issuer = "http://" + s.settings.Host + ":" + strconv.Itoa(answer.Port)
}

// Stop stops the server: connections to it are refused from then on. Stopping twice is harmless.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.process == nil {
		return
	}
	_ = s.stdin.Close()
	slow := time.AfterFunc(5*time.Second, func() { _ = s.process.Process.Kill() })
	_ = s.process.Wait() // how it ended doesn't matter
	slow.Stop()
	s.process = nil
}
