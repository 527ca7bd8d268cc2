package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// attempt is one start of the program: its variables except PATH, and its arguments.
type attempt struct {
	env  map[string]string
	args []string
}

// configured is an attempt to run a command that prints that it has started.
func configured(baseURL string, key api.Key) attempt {
	return attempt{
		env: map[string]string{
			"MIOSA_BASE_URL": baseURL, "MIOSA_API_KEY": key.Reveal(), "MIOSA_SANDBOX_ID": sandbox.ID, "MIOSA_TIMEOUT": "1s",
		},
		args: []string{"run", "--", "sh", "-c", "echo started"},
	}
}

func (a attempt) with(name, value string) attempt { a.env[name] = value; return a }

// running returns the attempt with other words after run.
func (a attempt) running(words ...string) attempt {
	a.args = append([]string{"run"}, words...)
	return a
}

func (a attempt) start(t *testing.T, dir string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(built, "miosa-env"), a.args...)
	command.Dir = dir
	command.Env = environ(a.env)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return out.String(), problems.String(), codeOf(command.ProcessState)
}

// normal replaces what differs between runs.
func normal(text string) string {
	for _, r := range []struct{ pattern, by string }{
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`\bbnd_[a-z0-9]{26}\b`, "BINDING"},
		{`\breq_[a-z0-9]+\b`, "REQUEST"},
		{`localhost:\d+`, "ADDRESS"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	return text
}

func TestBadInput(t *testing.T) {
	const started = "started"
	for _, tt := range []struct {
		name   string
		make   func(t *testing.T, dir string) attempt
		code   int
		stderr []string // after "miosa-env: "
	}{
		{"no key", func(t *testing.T, _ string) attempt {
			return configured("", api.Key{})
		}, 125, []string{
			"error: there is no key: MIOSA_API_KEY isn't set",
			"hint: set it or MIOSA_API_KEY_FILE, or give --key-file FILE",
		}},
		{"malformed key", func(t *testing.T, _ string) attempt {
			return configured("", api.Key{}).with("MIOSA_API_KEY", "msk_r_short")
		}, 125, []string{
			"error: MIOSA_API_KEY: malformed key: want msk_r_... or msk_u_... on one line",
			"hint: copy the whole key, as it was shown when it was created",
		}},
		{"unreadable key file", func(t *testing.T, dir string) attempt {
			return configured("", api.Key{}).with("MIOSA_API_KEY_FILE", "missing")
		}, 125, []string{
			"error: key file missing: no such file or directory",
			"hint: check the path, and that this user may read it; a relative one starts at the working directory",
		}},
		{"revoked key", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			key, id := s.MintResourceKey(t, sandbox)
			s.Revoke(t, id)
			return configured(s.BaseURL, key)
		}, 125, []string{
			"error: the key is unknown, revoked or expired",
			"hint: create another with miosa-env keys create",
		}},
		{"tenant key", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.TenantKey)
		}, 125, []string{
			"error: a tenant key can't reveal: use a resource key",
			"hint: a tenant key manages secrets and doesn't reveal them: use a key made for the sandbox or computer, with miosa-env keys create",
		}},
		{"wrong resource", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).with("MIOSA_SANDBOX_ID", "sb_2")
		}, 125, []string{
			"error: this key belongs to another resource",
			"hint: a resource key serves the one sandbox or computer it was created for: check MIOSA_SANDBOX_ID or MIOSA_COMPUTER_ID",
		}},
		{"no resource", func(t *testing.T, _ string) attempt {
			return configured("", aKey()).with("MIOSA_SANDBOX_ID", "")
		}, 125, []string{
			"error: no sandbox or computer is named: neither MIOSA_SANDBOX_ID nor MIOSA_COMPUTER_ID is set",
			"hint: set one, or give --sandbox ID or --computer ID",
		}},
		{"two resources", func(t *testing.T, _ string) attempt {
			return configured("", aKey()).with("MIOSA_COMPUTER_ID", "c_1")
		}, 125, []string{
			"error: MIOSA_SANDBOX_ID and MIOSA_COMPUTER_ID are both set",
			"hint: unset one, or give --sandbox ID or --computer ID, which comes before both",
		}},
		{"base URL that isn't one", func(t *testing.T, _ string) attempt {
			return configured("vault.example", aKey())
		}, 125, []string{
			"error: base URL vault.example: want https://HOST/api/v1",
			"hint: give the vault's address, such as https://api.miosa.ai/api/v1; plain http is for a vault on this machine",
		}},
		{"plain http to elsewhere", func(t *testing.T, _ string) attempt {
			return configured("http://vault.example", aKey())
		}, 125, []string{
			"error: base URL http://vault.example: plain http is for loopback only, use https",
			"hint: give the vault's address, such as https://api.miosa.ai/api/v1; plain http is for a vault on this machine",
		}},
		{"vault down", func(t *testing.T, _ string) attempt {
			l := listen(t)
			_ = l.Close()
			return configured("http://"+l.Addr().String(), aKey())
		}, 125, []string{
			"error: the vault at ADDRESS can't be reached: connection refused",
			"hint: check MIOSA_BASE_URL, and that the vault runs",
		}},
		{"vault hanging", func(t *testing.T, _ string) attempt {
			return configured("http://"+hanging(t), aKey())
		}, 125, []string{
			"error: the vault at ADDRESS accepted the connection but did not respond in time",
			"hint: the vault may be overloaded or stuck: look at its log",
		}},
		{"vault busy", func(t *testing.T, _ string) attempt {
			return configured(answers(t, http.StatusServiceUnavailable, `{"error": "not ready", "code": "UNAVAILABLE", "request_id": "req_1"}`), aKey())
		}, 125, []string{
			"error: not ready",
			"hint: try again, and look at the vault's log for request REQUEST",
		}},
		{"not TLS where TLS is due", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(strings.Replace(s.BaseURL, "http:", "https:", 1), aKey())
		}, 125, []string{
			"error: the vault at ADDRESS doesn't speak TLS on this port: it answered in plain http",
			"hint: check the port, or use http where the vault is on this machine",
		}},
		{"TLS where http is asked", func(t *testing.T, _ string) attempt {
			c, _, _ := vaulttest.Certificate(t)
			s := vaulttest.Start(t, vaulttest.WithTLS(c))
			return configured(strings.Replace(s.BaseURL, "https:", "http:", 1), aKey())
		}, 125, []string{
			"error: the vault at ADDRESS expects TLS on this port, but the request was plain http",
			"hint: use https in MIOSA_BASE_URL",
		}},
		{"unknown CA", func(t *testing.T, _ string) attempt {
			c, _, _ := vaulttest.Certificate(t)
			return configured(vaulttest.Start(t, vaulttest.WithTLS(c)).BaseURL, aKey()).with("MIOSA_TIMEOUT", "10s")
		}, 125, []string{
			"error: the certificate of the vault at ADDRESS is signed by an authority this machine doesn't trust",
			"hint: for a private authority give --ca-file; else install the ca-certificates package",
		}},
		{"another host's certificate", func(t *testing.T, dir string) attempt {
			return configured(behind(t, dir, "elsewhere.example", -time.Hour, time.Hour), aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: the certificate of the vault at ADDRESS is for another name",
			"hint: check the host in MIOSA_BASE_URL",
		}},
		{"wrong clock, ahead", func(t *testing.T, dir string) attempt {
			return configured(behind(t, dir, "localhost", -2*time.Hour, -time.Hour), aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: the certificate of the vault at ADDRESS has expired",
			"hint: check this machine's clock: it says TIME, it ended TIME",
		}},
		{"wrong clock, behind", func(t *testing.T, dir string) attempt {
			return configured(behind(t, dir, "localhost", time.Hour, 2*time.Hour), aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: the certificate of the vault at ADDRESS isn't valid yet",
			"hint: check this machine's clock: it says TIME, it begins TIME",
		}},
		{"CA file without certificates", func(t *testing.T, dir string) attempt {
			write(t, dir, "ca.pem", "nothing", 0o600)
			return configured("https://localhost:1", aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: CA file ca.pem: no PEM certificate in it",
			"hint: give a file with the authority's certificate in PEM: it holds a line -----BEGIN CERTIFICATE-----",
		}},
		{"TLS 1.2 only", func(t *testing.T, dir string) attempt {
			return configured(behind(t, dir, "localhost", -time.Hour, time.Hour, func(c *tls.Config) {
				c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			}), aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: the vault at ADDRESS does not support TLS 1.3, the oldest accepted version",
			"hint: let the vault, or what ends TLS in front of it, speak TLS 1.3",
		}},
		{"connection reset over TLS", func(t *testing.T, dir string) attempt {
			return configured(resetting(t, dir), aKey()).with("MIOSA_CA_FILE", "ca.pem")
		}, 125, []string{
			"error: the connection to the vault at ADDRESS broke off before the answer was complete",
			"hint: look at the vault's log, or at a proxy in between: either may have been restarted",
		}},
		{"redirect", func(t *testing.T, _ string) attempt {
			return configured(serve(t, http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect)), aKey())
		}, 125, []string{
			"error: the vault at ADDRESS redirects elsewhere, and no redirect is followed",
			"hint: check MIOSA_BASE_URL: its scheme, host and path",
		}},
		{"value with NUL", func(t *testing.T, _ string) attempt {
			return configured(reveals(t, bound("NUL", "a\x00b")), aKey())
		}, 125, []string{
			"error: binding bnd_1: NUL can't be set: its value holds a NUL byte",
			"hint: bind the secret under another name, or leave the binding out with --only",
		}},
		{"value too long for the environment", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			s.Put(t, "long", strings.Repeat("x", 200_000), sandbox, "LONG")
			return configured(s.BaseURL, s.ResourceKey(t, sandbox))
		}, 125, []string{
			"error: binding BINDING: LONG is too long for the kernel: 200005 bytes, at most 131071",
			"hint: leave the binding out with --only, or store the value in parts",
		}},
		{"duplicate names", func(t *testing.T, _ string) attempt {
			first, second := bound("TWICE", "a"), bound("TWICE", "b")
			second.ID = "bnd_2"
			return configured(reveals(t, first, second), aKey())
		}, 125, []string{
			"error: binding bnd_2: TWICE is set by binding bnd_1 too",
			"hint: bind the secret under another name, or leave the binding out with --only",
		}},
		{"a name that isn't one", func(t *testing.T, _ string) attempt {
			return configured(reveals(t, bound("NOT-A-NAME", "a"), bound("B=C", "b")), aKey())
		}, 125, []string{
			"error: binding bnd_1: B=C isn't a name: want letters, digits and _, no digit first",
			"error: binding bnd_1: NOT-A-NAME isn't a name: want letters, digits and _, no digit first",
			"hint: bind the secret under another name, or leave the binding out with --only",
		}},
		{"a refused name", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			s.Put(t, "preload", "/tmp/evil.so", sandbox, "LD_PRELOAD")
			return configured(s.BaseURL, s.ResourceKey(t, sandbox))
		}, 125, []string{
			"error: binding BINDING: LD_PRELOAD is refused: it can make programs run other code (--allow-name LD_PRELOAD lets it through)",
			"hint: if it is meant, add --allow-name LD_PRELOAD; else leave the binding out with --only",
		}},
		{"missing --require", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--require", "DB_URL", "--", "echo", started)
		}, 125, []string{
			"error: required but not set: DB_URL",
			"hint: bind a secret to it (miosa-env list shows what is bound), set it in an env file, or drop --require",
		}},
		{"prefix that no name begins with", func(t *testing.T, _ string) attempt {
			return configured("", aKey()).running("--prefix", "1", "--", "echo", started)
		}, 2, []string{
			`error: --prefix "1": want letters, digits and _, no digit first`,
			"hint: see miosa-env run --help",
		}},
		{"broken --only", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--only", "[", "--", "echo", started)
		}, 2, []string{
			`error: --only "[": want names, or patterns such as 'DB_*'`,
			"hint: see miosa-env run --help",
		}},
		{"command that doesn't exist", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("no-such-command")
		}, 127, []string{
			"error: no-such-command: command not found",
			"hint: install it, or give its path",
		}},
		{"path that doesn't exist", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("./no-such-command")
		}, 127, []string{
			"error: ./no-such-command: command not found",
			"hint: no such file; a relative path starts at the working directory",
		}},
		{"command that isn't executable", func(t *testing.T, dir string) attempt {
			write(t, dir, "plain", "echo started", 0o644)
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("./plain")
		}, 126, []string{
			"error: ./plain: command can't be executed: ./plain isn't marked executable",
			"hint: chmod +x ./plain",
		}},
		{"command that is a directory", func(t *testing.T, dir string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("/")
		}, 126, []string{
			"error: /: command can't be executed: / is a directory",
			"hint: give a file in it",
		}},
		{"command without a known format", func(t *testing.T, dir string) attempt {
			write(t, dir, "script", "echo started", 0o755)
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("./script")
		}, 126, []string{
			"error: execute ./script: exec format error",
			"hint: a script needs a first line such as #!/bin/sh, and a program must be for this processor",
		}},
		{"the same, supervised", func(t *testing.T, dir string) attempt {
			write(t, dir, "script", "echo started", 0o755)
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--on-change", "restart", "./script")
		}, 126, []string{
			"error: execute ./script: exec format error",
			"hint: a script needs a first line such as #!/bin/sh, and a program must be for this processor",
		}},
		{"interpreter that doesn't exist", func(t *testing.T, dir string) attempt {
			write(t, dir, "script", "#!/no/such/shell\necho started", 0o755)
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("./script")
		}, 127, []string{
			"error: execute ./script: its interpreter \"/no/such/shell\" doesn't exist",
			"hint: check the interpreter named in the file's first line",
		}},
		{"missing --env-file", func(t *testing.T, _ string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--env-file", "missing.env", "--", "echo", started)
		}, 125, []string{
			"error: env file missing.env: no such file or directory",
			"hint: check the path, and that this user may read it; a relative one starts at the working directory",
		}},
		{"unreadable --env-file", func(t *testing.T, dir string) attempt {
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--env-file", ".", "--", "echo", started)
		}, 125, []string{
			"error: env file .: is a directory",
			"hint: check the path, and that this user may read it; a relative one starts at the working directory",
		}},
		{"broken --env-file", func(t *testing.T, dir string) attempt {
			write(t, dir, "broken.env", "A=1\nB='canary", 0o600)
			s := vaulttest.Start(t)
			return configured(s.BaseURL, s.ResourceKey(t, sandbox)).running("--env-file", "broken.env", "--", "echo", started)
		}, 125, []string{
			"error: env file broken.env line 2 column 3: a quote that isn't closed",
			"hint: write the closing quote; a ' in the value takes double quotes around it",
		}},
		{"broken JSON", func(t *testing.T, _ string) attempt {
			return configured(answers(t, http.StatusOK, `{"etag": "canary`), aKey())
		}, 125, []string{
			"error: the vault's answer is broken JSON",
			"hint: a proxy may have changed it or cut it short",
		}},
		{"JSON that isn't the contract's", func(t *testing.T, _ string) attempt {
			return configured(answers(t, http.StatusOK, `{"canary": []}`), aKey())
		}, 125, []string{
			"error: the vault's answer isn't in the contract's form",
			"hint: check that MIOSA_BASE_URL is a vault's, and of a version this program knows",
		}},
		{"huge body", func(t *testing.T, _ string) attempt {
			return configured(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				for block := make([]byte, 1<<20); ; {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			})), aKey()).with("MIOSA_TIMEOUT", "30s")
		}, 125, []string{
			"error: the vault's answer is longer than the 16 MiB allowed",
		}},
		{"unknown suite", func(t *testing.T, _ string) attempt {
			return configured(sealing(t, func(a *api.RevealAnswer) { a.Suite = "plaintext" }, bound("A", "a")), aKey())
		}, 125, []string{
			`error: suite "plaintext" was not offered: the vault's answer was altered on its way or isn't meant for this request`,
			"hint: something between this machine and the vault changes answers: look for a proxy that ends TLS",
		}},
		{"altered answer", func(t *testing.T, _ string) attempt {
			return configured(sealing(t, func(a *api.RevealAnswer) { a.Sealed[1200] ^= 1 }, bound("A", "a")), aKey())
		}, 125, []string{
			"error: the vault's answer was altered on its way or isn't meant for this request",
			"hint: something between this machine and the vault changes answers: look for a proxy that ends TLS",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stdout, stderr, code := tt.make(t, dir).start(t, dir)
			if stdout != "" {
				t.Errorf("printed %q", stdout)
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			want := "miosa-env: " + strings.Join(tt.stderr, "\nmiosa-env: ") + "\n"
			if diff := cmp.Diff(normal(stderr), want); diff != "" {
				t.Errorf("standard error (-got +want):\n%s", diff)
			}
		})
	}
}

func aKey() api.Key { return api.NewKey(api.ResourceKeyPrefix) }

func bound(env, value string) api.Bound {
	return api.Bound{
		Label: api.Label{ID: "bnd_1", SecretID: "sec_1", ExposeAsEnv: env, Version: 1, Delivery: api.DeliverValue},
		Value: api.NewValue([]byte(value)),
	}
}

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hanging accepts connections and never responds.
func hanging(t *testing.T) (address string) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().String()
}

func serve(t *testing.T, h http.Handler) (baseURL string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// answers returns the same response to every request.
func answers(t *testing.T, status int, body string) (baseURL string) {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
}

// reveals is a vault that seals sets that a real one would refuse to store.
func reveals(t *testing.T, set ...api.Bound) (baseURL string) {
	t.Helper()
	return sealing(t, func(*api.RevealAnswer) {}, set...)
}

// sealing is a vault that modifies its response after sealing it.
func sealing(t *testing.T, change func(*api.RevealAnswer), set ...api.Bound) (baseURL string) {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask api.RevealRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
			return
		}
		a, err := api.Seal(ask.Resource, ask.Recipient, set)
		if err != nil {
			t.Error(err)
			return
		}
		change(&a)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	}))
}

// behind starts a TLS server without content. Its certificate is for one name, valid from and until these times
// from now, and written to ca.pem.
func behind(t *testing.T, dir, name string, from, until time.Duration, change ...func(*tls.Config)) (baseURL string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = certified(t, dir, name, from, until)
	for _, f := range change {
		f(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return "https://localhost:" + server.URL[strings.LastIndex(server.URL, ":")+1:]
}

// resetting accepts TLS connections and resets each at its first request.
func resetting(t *testing.T, dir string) (baseURL string) {
	t.Helper()
	config := certified(t, dir, "localhost", -time.Hour, time.Hour)
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = tls.Server(c, config).Read(make([]byte, 1)) // of the request
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}()
		}
	}()
	return "https://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// certified creates a certificate for one name, valid from and until these times from now, and writes it to
// ca.pem.
func certified(t *testing.T, dir, name string, from, until time.Duration) *tls.Config {
	t.Helper()
	c, path, _ := vaulttest.Certificate(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter, c.DNSNames = time.Now().Add(from), time.Now().Add(until), []string{name}
	})
	if err := os.Rename(path, filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13}
}
